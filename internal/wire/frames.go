package wire

import (
	"fmt"
	"unicode/utf8"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// consumeTag refuses, as generated code does, numbers that no field can have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	if len(b) > 0 && b[0] >= 1<<3 && b[0] < 1<<7 { // nearly all are one byte
		return protowire.Number(b[0] >> 3), protowire.Type(b[0] & 7), 1
	}
	num, typ, n := protowire.ConsumeTag(b)
	if num > protowire.MaxValidNumber {
		n = errParse
	}
	return num, typ, n
}

// sole returns the body of a frame that consists of nothing but the message
// in field num.
func sole(frame []byte, num protowire.Number) (body []byte, ok bool) {
	got, typ, n := consumeTag(frame)
	if n < 0 || got != num || typ != protowire.BytesType {
		return nil, false
	}
	body, m := protowire.ConsumeBytes(frame[n:])
	return body, m > 0 && n+m == len(frame)
}

// A Receiver takes the frames of one stream apart. It is used by the one
// goroutine that receives. [Receiver.Receive] gets a batch, and
// [Receiver.Request] or [Receiver.Response] takes one frame of it after the
// other.
type Receiver struct {
	stream    Stream
	batch     Frames
	assembler Assembler
	joiner    *joiner      // in place of assembler; see responseChunk
	values    func(*Value) // see Values
	calls     func(*Call)  // see Calls
	replies   func(*Reply) // see Replies
	failed    func(error)  // likewise
	call      *Call        // used again for each, see Leave; nil before the first
	reply     Reply
	value     Value
	wish      *wish             // nil before the first
	taken     int               // bytes of pieces that were not told of, see TellTaken
	alone     bool              // each frame is alone in its memory
	texts     map[string]string // see text
}

const (
	// maxTexts is how many texts a Receiver keeps, none longer than maxText.
	maxTexts = 256
	maxText  = 256

	// errParse is an error of package protowire that has no number there.
	errParse = -100
)

// text consumes a field of type string, which must be UTF-8. The names of
// methods and codecs are few and come again and again, often what they were
// last, so the Receiver keeps them instead of making a copy each time.
func (r *Receiver) text(rest []byte, last string) (string, int) {
	b, n := protowire.ConsumeBytes(rest)
	if n < 0 {
		return "", n
	}
	if string(b) == last {
		return last, n
	}
	if s, ok := r.texts[string(b)]; ok {
		return s, n
	}
	if !utf8.Valid(b) {
		return "", errParse
	}
	s := string(b)
	if len(r.texts) < maxTexts && len(s) <= maxText {
		if r.texts == nil {
			r.texts = make(map[string]string)
		}
		r.texts[s] = s
	}
	return s, n
}

// NewReceiver returns a Receiver of s.
func NewReceiver(s Stream) *Receiver { return &Receiver{stream: s} }

// Receive waits for the next batch. The one before is given back.
func (r *Receiver) Receive() error {
	r.batch.release()
	return r.stream.RecvMsg(&r.batch)
}

// Request takes the next frame of a follower's batch and gives it to call, or
// to other when it is none; it is false when there was none left. What call is
// given is valid until it returns, unless it calls [Call.Keep], and so is what
// other is given, when that is a Subscribe. Request itself does nothing after
// that: another goroutine may already use the Receiver.
func (r *Receiver) Request(call func(*Call), other func(*clusterclientv1.RequestFrame)) (bool, error) {
	frame, err := r.batch.next()
	if frame == nil {
		return false, err
	}
	return true, r.request(frame, r.batch.hold, call, other)
}

func (r *Receiver) request(frame []byte, hold mem.Buffer, call func(*Call), other func(*clusterclientv1.RequestFrame)) error {
	if body, ok := sole(frame, callField); ok {
		c, err := r.parseCall(body, hold)
		if err == nil {
			call(c)
		}
		return err
	}
	if body, ok := sole(frame, requestChunkField); ok {
		var c chunk
		if err := c.parse(body); err != nil {
			return err
		}
		return r.requestChunk(c, hold, call, other)
	}
	if body, ok := sole(frame, subscribeField); ok && r.parseWish(body) {
		taken, err := r.joiner.follow(frame)
		if !taken && err == nil {
			other(&r.wish.frame)
		}
		return err
	}
	var f clusterclientv1.RequestFrame
	if err := proto.Unmarshal(frame, &f); err != nil {
		return fmt.Errorf("wire: a frame does not decode: %w", err)
	}
	switch k := f.GetKind().(type) {
	case *clusterclientv1.RequestFrame_Chunk:
		return r.requestChunk(chunkFrom(k.Chunk), nil, call, other)
	case *clusterclientv1.RequestFrame_Call: // with something unknown beside it
		call(callFrom(k.Call))
		return nil
	}
	taken, err := r.joiner.follow(frame)
	if !taken && err == nil {
		other(&f)
	}
	return err
}

// parseCall decodes a Call into the one before, whose texts are often the same.
func (r *Receiver) parseCall(body []byte, hold mem.Buffer) (*Call, error) {
	if r.call == nil {
		r.call = new(Call)
	}
	method, codec := r.call.Method, r.call.Codec
	*r.call = Call{hold: hold}
	return r.call, r.call.parse(body, r, method, codec)
}

// Leave leaves the Call that was given last to whoever has it.
func (r *Receiver) Leave() { r.call = nil }

// Response takes the next frame of a leader's batch, as [Receiver.Request]
// does that of a follower's.
func (r *Receiver) Response(reply func(*Reply), other func(*clusterclientv1.ResponseFrame)) (bool, error) {
	frame, err := r.batch.next()
	if frame == nil {
		return false, err
	}
	return true, r.response(frame, r.batch.hold, reply, other)
}

func (r *Receiver) response(frame []byte, hold mem.Buffer, reply func(*Reply), other func(*clusterclientv1.ResponseFrame)) error {
	if body, ok := sole(frame, replyField); ok {
		last := r.reply.Codec
		r.reply = Reply{hold: hold}
		if err := r.reply.parse(body, r, last); err != nil {
			return err
		}
		reply(&r.reply)
		return nil
	}
	if body, ok := sole(frame, valueField); ok && r.values != nil {
		if taken, err := r.joiner.follow(frame); taken || err != nil {
			return err
		}
		return r.takeValue(body)
	}
	if body, ok := sole(frame, responseChunkField); ok {
		var c chunk
		if err := c.parse(body); err != nil {
			return err
		}
		return r.responseChunk(c, hold, reply, other)
	}
	var f clusterclientv1.ResponseFrame
	if err := proto.Unmarshal(frame, &f); err != nil {
		return fmt.Errorf("wire: a frame does not decode: %w", err)
	}
	switch k := f.GetKind().(type) {
	case *clusterclientv1.ResponseFrame_Chunk:
		return r.responseChunk(chunkFrom(k.Chunk), nil, reply, other)
	case *clusterclientv1.ResponseFrame_Reply: // with something unknown beside it
		reply(replyFrom(k.Reply))
		return nil
	}
	if taken, err := r.joiner.follow(frame); taken || err != nil {
		return err
	}
	if v := f.GetValue(); v != nil && r.values != nil {
		r.values(valueOf(v))
	} else {
		other(&f)
	}
	return nil
}

// fields calls take for each field of a message. take returns the length of
// the value that it consumed, 0 for a field that it does not know, or an error
// of package protowire.
func fields(body []byte, take func(num protowire.Number, typ protowire.Type, rest []byte) int) error {
	for len(body) > 0 {
		num, typ, n := consumeTag(body)
		if n < 0 {
			return fmt.Errorf("wire: a frame does not decode: %w", protowire.ParseError(n))
		}
		body = body[n:]
		if n = take(num, typ, body); n == 0 {
			n = protowire.ConsumeFieldValue(num, typ, body)
		}
		if n < 0 {
			return fmt.Errorf("wire: a frame does not decode: %w", protowire.ParseError(n))
		}
		body = body[n:]
	}
	return nil
}

func takeMetadata(into *[]*clusterclientv1.Metadata, rest []byte) int {
	b, n := protowire.ConsumeBytes(rest)
	if n < 0 {
		return n
	}
	var m clusterclientv1.Metadata
	if proto.Unmarshal(b, &m) != nil {
		return errParse
	}
	*into = append(*into, &m)
	return n
}

// Sizes and encodings of single fields; a field with its zero value is left
// out, as generated code does.

func sizeUint(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeVarint(v)
}

func sizeFixed(num protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeFixed64()
}

func sizeBytes[T string | []byte](num protowire.Number, v T) int {
	if len(v) == 0 {
		return 0
	}
	return protowire.SizeTag(num) + protowire.SizeBytes(len(v))
}

func sizeMetadata(num protowire.Number, md []*clusterclientv1.Metadata) int {
	n := 0
	for _, m := range md {
		n += protowire.SizeTag(num) + protowire.SizeBytes(proto.Size(m))
	}
	return n
}

func appendUint(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

func appendFixed(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, num, protowire.Fixed64Type), v)
}

func appendBytes[T string | []byte](b []byte, num protowire.Number, v T) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(len(v)))
	return append(b, v...)
}

func appendMetadata(b []byte, num protowire.Number, md []*clusterclientv1.Metadata) []byte {
	for _, m := range md {
		b = protowire.AppendVarint(protowire.AppendTag(b, num, protowire.BytesType), uint64(proto.Size(m)))
		b, _ = proto.MarshalOptions{}.MarshalAppend(b, m)
	}
	return b
}

func boolUint(v bool) uint64 {
	if v {
		return 1
	}
	return 0
}
