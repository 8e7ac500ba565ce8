package wire

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const callField protowire.Number = 6 // RequestFrame.call

// Numbers of the fields of Call.
const (
	callID protowire.Number = iota + 1
	callMethod
	callCodec
	callDeadline
	callOneway
	callMetadata
	callPayload protowire.Number = 15
)

// A Call is the frame of that name, encoded and decoded by hand: there are
// hundreds of thousands of them a second. The Payload of one that was received
// is part of its batch; see [Call.Keep].
type Call struct {
	ID       uint64
	Method   string
	Codec    string
	Deadline int64
	Oneway   bool
	Metadata []*clusterclientv1.Metadata
	Payload  []byte

	hold mem.Buffer // of Payload; nil when that is the collector's
}

// Keep makes a received Call, and copies of it, valid until [Call.Release].
func (c *Call) Keep() {
	if c.hold != nil {
		c.hold.Ref()
	}
}

// Release gives the Payload of a Call that was kept back.
func (c *Call) Release() {
	if c.hold != nil {
		c.hold.Free()
	}
	c.hold, c.Payload = nil, nil
}

func (c *Call) size() int {
	return sizeUint(callID, c.ID) + sizeBytes(callMethod, c.Method) + sizeBytes(callCodec, c.Codec) +
		sizeUint(callDeadline, uint64(c.Deadline)) + sizeUint(callOneway, boolUint(c.Oneway)) +
		sizeMetadata(callMetadata, c.Metadata) + sizeBytes(callPayload, c.Payload)
}

// frameRest is what a frame has beside the parts whose size is known early:
// the ID, the deadline, and the tags around all of it.
const frameRest = 64

// Fits reports whether c fits in a frame.
func (c *Call) Fits() bool { return c.size() <= MaxFrame-frameRest }

// SendCall queues c as [Writer.Send] does a frame.
func (w *Writer) SendCall(c *Call, handed *atomic.Bool) {
	size := c.size()
	if size > chunkSize {
		w.sendLarge(&largeFrame{data: c.appendTo(openFrame(nil, callField, size)), handed: handed})
		return
	}
	w.mu.Lock()
	b := w.tailLocked()
	b.open(callField, size)
	*b.buf = c.appendTo(*b.buf)
	b.handed = append(b.handed, handed)
	full := b.Full()
	w.mu.Unlock()
	switch {
	case !full && w.coming.Load() > 0: // the last of those has it sent
	case w.crowd.Load() <= 1:
		w.SendNow()
	default:
		w.Wake()
	}
}

// ExpectCallers notes that n callers are given their replies and are about to run,
// which each says with [Writer.CallerCame]. Calls that are queued wait for it: those
// who are answered together so call together again, in one message. They wait for
// nothing but the processor, and for no more than fill a message.
func (w *Writer) ExpectCallers(n int) { w.coming.Add(int64(n)) }

// CallerCame notes that a caller runs that was expected. The last one has sent
// what waits.
func (w *Writer) CallerCame() {
	if w.coming.Add(-1) == 0 && w.Queued() > 0 {
		w.Wake()
	}
}

func (c *Call) appendTo(b []byte) []byte {
	b = appendUint(b, callID, c.ID)
	b = appendBytes(b, callMethod, c.Method)
	b = appendBytes(b, callCodec, c.Codec)
	b = appendUint(b, callDeadline, uint64(c.Deadline))
	b = appendUint(b, callOneway, boolUint(c.Oneway))
	b = appendMetadata(b, callMetadata, c.Metadata)
	return appendBytes(b, callPayload, c.Payload)
}

func (c *Call) parse(body []byte, r *Receiver, lastMethod, lastCodec string) error {
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		var v uint64
		switch {
		case num == callID && typ == protowire.VarintType:
			c.ID, n = protowire.ConsumeVarint(rest)
		case num == callMethod && typ == protowire.BytesType:
			c.Method, n = r.text(rest, lastMethod)
		case num == callCodec && typ == protowire.BytesType:
			c.Codec, n = r.text(rest, lastCodec)
		case num == callDeadline && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			c.Deadline = int64(v)
		case num == callOneway && typ == protowire.VarintType:
			v, n = protowire.ConsumeVarint(rest)
			c.Oneway = v != 0
		case num == callMetadata && typ == protowire.BytesType:
			n = takeMetadata(&c.Metadata, rest)
		case num == callPayload && typ == protowire.BytesType:
			c.Payload, n = protowire.ConsumeBytes(rest)
		}
		return n
	})
}

func callFrom(p *clusterclientv1.Call) *Call {
	return &Call{
		ID: p.GetId(), Method: p.GetMethod(), Codec: p.GetCodec(), Deadline: p.GetDeadline(),
		Oneway: p.GetOneway(), Metadata: p.GetMetadata(), Payload: p.GetPayload(),
	}
}
