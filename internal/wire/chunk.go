package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// maxOpen is how many large frames of one session may be under way at once. A
// sender has at most one for each key, call and so on; what it is for is that
// a broken peer cannot make the receiver hold any number of half frames.
const maxOpen = 1024

// addChunk appends a frame of kind chunk, whose data is lead and then piece,
// which is not copied. Nothing can be added to the batch after it.
func (b *Batch) addChunk(field protowire.Number, id uint64, size int, lead, piece []byte) {
	data := len(lead) + len(piece)
	chunk := protowire.SizeTag(1) + protowire.SizeVarint(id) +
		protowire.SizeTag(2) + protowire.SizeVarint(uint64(size)) +
		protowire.SizeTag(15) + protowire.SizeBytes(data)
	frame := protowire.SizeTag(field) + protowire.SizeBytes(chunk)

	out := protowire.AppendTag(*b.buf, framesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(frame))
	out = protowire.AppendTag(out, field, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(chunk))
	out = protowire.AppendTag(out, 1, protowire.VarintType)
	out = protowire.AppendVarint(out, id)
	out = protowire.AppendTag(out, 2, protowire.VarintType)
	out = protowire.AppendVarint(out, uint64(size))
	out = protowire.AppendTag(out, 15, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(data))
	out = append(out, lead...)
	*b.buf, b.piece = out, piece
}

// An Assembler puts the chunks of one stream together. The zero value is
// ready; it is used by the one goroutine that receives.
type Assembler struct {
	open map[uint64][]byte
}

// Add takes a chunk and, when it was the last one of its frame, returns the
// frame in encoded form.
func (a *Assembler) Add(c *clusterclientv1.Chunk) (whole []byte, err error) {
	if c.GetSize() > MaxFrame {
		return nil, fmt.Errorf("wire: a frame of %d bytes, at most %d are allowed", c.GetSize(), MaxFrame)
	}
	have, ok := a.open[c.GetId()]
	if !ok && len(a.open) >= maxOpen {
		return nil, fmt.Errorf("wire: more than %d large frames at once", maxOpen)
	}
	if !ok {
		// What has come says more than what is announced: a peer that only
		// announces must not make the receiver take memory.
		have = make([]byte, 0, min(c.GetSize(), 16*uint64(len(c.GetData()))))
	}
	have = append(have, c.GetData()...)
	switch size := c.GetSize(); {
	case uint64(len(have)) > size:
		return nil, fmt.Errorf("wire: chunks of %d bytes for a frame of %d", len(have), size)
	case uint64(len(have)) < size:
		if a.open == nil {
			a.open = make(map[uint64][]byte)
		}
		a.open[c.GetId()] = have
		return nil, nil
	}
	delete(a.open, c.GetId())
	return have, nil
}
