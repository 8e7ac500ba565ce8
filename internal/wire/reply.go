package wire

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const replyField protowire.Number = 12 // ResponseFrame.reply

// Numbers of the fields of Reply.
const (
	replyID protowire.Number = iota + 1
	replyCode
	replyMessage
	replyStatus
	replyNotStarted
	replyCodec
	replyHeader
	replyTrailer
	replyTooLarge
	replyOverLimit
	replyPayload protowire.Number = 15
)

// A Reply is the frame of that name, encoded and decoded by hand, as [Call]
// is. The bytes of one that was received are part of its batch; see
// [Reply.Keep].
type Reply struct {
	ID         uint64
	Code       int32
	Message    string
	Status     []byte
	NotStarted bool
	Codec      string
	Header     []*clusterclientv1.Metadata
	Trailer    []*clusterclientv1.Metadata
	TooLarge   bool
	OverLimit  bool
	Payload    []byte

	hold mem.Buffer // of Payload and Status; nil when those are the collector's
}

// Keep makes a received Reply, and copies of it, valid until [Reply.Release].
func (p *Reply) Keep() {
	switch {
	case p.hold == nil:
	case len(p.Payload) > 0 || len(p.Status) > 0:
		p.hold.Ref()
	default:
		p.hold = nil
	}
}

// Release gives the bytes of a Reply that was kept back.
func (p *Reply) Release() {
	if p.hold != nil {
		p.hold.Free()
	}
	p.hold, p.Payload, p.Status = nil, nil, nil
}

func (p *Reply) size() int {
	return sizeUint(replyID, p.ID) + sizeUint(replyCode, uint64(p.Code)) + sizeBytes(replyMessage, p.Message) +
		sizeBytes(replyStatus, p.Status) + sizeUint(replyNotStarted, boolUint(p.NotStarted)) +
		sizeBytes(replyCodec, p.Codec) + sizeMetadata(replyHeader, p.Header) +
		sizeMetadata(replyTrailer, p.Trailer) + sizeUint(replyTooLarge, boolUint(p.TooLarge)) +
		sizeUint(replyOverLimit, boolUint(p.OverLimit)) + sizeBytes(replyPayload, p.Payload)
}

// Fits reports whether p fits in a frame.
func (p *Reply) Fits() bool { return p.size() <= MaxFrame-frameRest }

// SendReply queues p as [Writer.Send] does a frame.
func (w *Writer) SendReply(p *Reply) {
	w.AddReply(p)
	w.Wake()
}

// AddReply queues p for when the writer is woken, by somebody who has more to
// come. A batch that is full goes out already.
func (w *Writer) AddReply(p *Reply) {
	size := p.size()
	if size > chunkSize {
		w.sendLarge(&largeFrame{data: p.appendTo(openFrame(nil, replyField, size))})
		return
	}
	w.mu.Lock()
	b := w.tailLocked()
	b.open(replyField, size)
	*b.buf = p.appendTo(*b.buf)
	full := b.Full()
	w.mu.Unlock()
	if full {
		w.Wake()
	}
}

func (p *Reply) appendTo(b []byte) []byte {
	b = appendUint(b, replyID, p.ID)
	b = appendUint(b, replyCode, uint64(p.Code)) // a negative int32 is sign-extended, as on the wire
	b = appendBytes(b, replyMessage, p.Message)
	b = appendBytes(b, replyStatus, p.Status)
	b = appendUint(b, replyNotStarted, boolUint(p.NotStarted))
	b = appendBytes(b, replyCodec, p.Codec)
	b = appendMetadata(b, replyHeader, p.Header)
	b = appendMetadata(b, replyTrailer, p.Trailer)
	b = appendUint(b, replyTooLarge, boolUint(p.TooLarge))
	b = appendUint(b, replyOverLimit, boolUint(p.OverLimit))
	return appendBytes(b, replyPayload, p.Payload)
}

func (p *Reply) parse(body []byte, r *Receiver, lastCodec string) error {
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		var v uint64
		switch {
		case num == replyID && typ == protowire.VarintType:
			p.ID, n = protowire.ConsumeVarint(rest)
		case num == replyCode && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			p.Code = int32(v)
		case num == replyMessage && typ == protowire.BytesType:
			p.Message, n = r.text(rest, "")
		case num == replyStatus && typ == protowire.BytesType:
			p.Status, n = protowire.ConsumeBytes(rest)
		case num == replyNotStarted && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			p.NotStarted = v != 0
		case num == replyCodec && typ == protowire.BytesType:
			p.Codec, n = r.text(rest, lastCodec)
		case num == replyHeader && typ == protowire.BytesType:
			n = takeMetadata(&p.Header, rest)
		case num == replyTrailer && typ == protowire.BytesType:
			n = takeMetadata(&p.Trailer, rest)
		case num == replyTooLarge && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			p.TooLarge = v != 0
		case num == replyOverLimit && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			p.OverLimit = v != 0
		case num == replyPayload && typ == protowire.BytesType:
			p.Payload, n = protowire.ConsumeBytes(rest)
		}
		return n
	})
}

func replyFrom(p *clusterclientv1.Reply) *Reply {
	return &Reply{
		ID: p.GetId(), Code: p.GetCode(), Message: p.GetMessage(), Status: p.GetStatus(),
		NotStarted: p.GetNotStarted(), Codec: p.GetCodec(),
		Header: p.GetHeader(), Trailer: p.GetTrailer(), TooLarge: p.GetTooLarge(), OverLimit: p.GetOverLimit(), Payload: p.GetPayload(),
	}
}
