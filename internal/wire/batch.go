package wire

import (
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// batchSize is when a batch is full. Larger ones do not carry more calls
	// a second, and make whoever is behind them wait.
	batchSize = 16 << 10

	// valuesSize is when a batch of values is. Whoever receives it wakes as many
	// goroutines as it has values, and one large batch disturbs fewer threads
	// than several small ones.
	valuesSize = 48 << 10

	// chunkSize is the size of a frame above which it is cut, and pieceSize that
	// of its pieces. Smaller pieces cost more; what comes behind a larger one
	// waits longer. With all that is around it, a piece fits into one frame of
	// HTTP/2, and is received in one segment.
	chunkSize = 64 << 10
	pieceSize = dataFrame - 64

	// Numbers of fields: "frames" in SessionRequest and SessionResponse, and
	// "chunk" in the two kinds of frames.
	framesField        protowire.Number = 1
	requestChunkField  protowire.Number = 11
	responseChunkField protowire.Number = 14
)

// A Batch is one message on the wire, a SessionRequest or SessionResponse, in
// encoded form.
type Batch struct {
	buf    *[]byte
	piece  []byte // follows buf; not copied, since it is large
	handed []*atomic.Bool
}

// Add appends frame, a RequestFrame or ResponseFrame.
func (b *Batch) Add(frame proto.Message) {
	opts := proto.MarshalOptions{}
	size := opts.Size(frame)
	out := protowire.AppendTag(*b.buf, framesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	opts.UseCachedSize = true
	out, err := opts.MarshalAppend(out, frame)
	if err != nil {
		// Invalid UTF-8 in a string is all that can go wrong, and keys and
		// names are checked where they come in. The frame is left out.
		return
	}
	*b.buf = out
}

// open appends what comes before the body of a frame that consists of one
// message of size bytes in field num.
func (b *Batch) open(num protowire.Number, size int) {
	out := protowire.AppendTag(*b.buf, framesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(protowire.SizeTag(num)+protowire.SizeBytes(size)))
	*b.buf = openFrame(out, num, size)
}

func openFrame(out []byte, num protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(out, num, protowire.BytesType), uint64(size))
}

// addParts appends a frame that is encoded already, in two parts.
func (b *Batch) addParts(head, data []byte) {
	out := protowire.AppendTag(*b.buf, framesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(len(head)+len(data)))
	*b.buf = append(append(out, head...), data...)
}

// Full reports whether the batch ought to be sent before more is added.
func (b *Batch) Full() bool { return len(*b.buf) >= batchSize }

// Laden is Full for values.
func (b *Batch) Laden() bool { return len(*b.buf) >= valuesSize }

func (b *Batch) empty() bool { return len(*b.buf) == 0 }

// markHanded tells whoever asked that their frames are about to leave.
func (b *Batch) markHanded() {
	for _, h := range b.handed {
		h.Store(true)
	}
}

// take gives the bytes away; the batch must not be used any more.
func (b *Batch) take() *[]byte {
	buf := b.buf
	b.buf = nil
	return buf
}

// slice is take for gRPC.
func (b *Batch) slice() mem.BufferSlice {
	s := mem.BufferSlice{mem.NewBuffer(b.take(), buffers)}
	if len(b.piece) > 0 {
		s = append(s, mem.SliceBuffer(b.piece))
	}
	return s
}

// bytes is take for whoever needs one piece of memory, of just its size.
func (b *Batch) bytes() []byte {
	data := append(make([]byte, 0, len(*b.buf)+len(b.piece)), *b.buf...)
	data = append(data, b.piece...)
	b.release()
	return data
}

// release returns the bytes of a batch that is not sent.
func (b *Batch) release() {
	if b != nil && b.buf != nil {
		buffers.Put(b.take())
	}
}
