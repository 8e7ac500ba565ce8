package wire

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterclient/clusterclient/internal/large"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Numbers of the fields of Chunk.
const (
	chunkID    protowire.Number = 1
	chunkTotal protowire.Number = 2
	chunkData  protowire.Number = 15
)

// maxOpen is how many large frames of one session may be under way at once. A
// sender has at most one for each key, call and so on; what it is for is that
// a broken peer cannot make the receiver hold any number of half frames.
const maxOpen = 1024

// addChunk appends a frame of kind chunk, whose data is lead and then piece,
// which is not copied. Nothing can be added to the batch after it.
func (b *Batch) addChunk(field protowire.Number, id uint64, size int, lead, piece []byte) {
	data := len(lead) + len(piece)
	chunk := protowire.SizeTag(chunkID) + protowire.SizeVarint(id) +
		protowire.SizeTag(chunkTotal) + protowire.SizeVarint(uint64(size)) +
		protowire.SizeTag(chunkData) + protowire.SizeBytes(data)
	frame := protowire.SizeTag(field) + protowire.SizeBytes(chunk)

	out := protowire.AppendTag(*b.buf, framesField, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(frame))
	out = protowire.AppendTag(out, field, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(chunk))
	out = protowire.AppendTag(out, chunkID, protowire.VarintType)
	out = protowire.AppendVarint(out, id)
	out = protowire.AppendTag(out, chunkTotal, protowire.VarintType)
	out = protowire.AppendVarint(out, uint64(size))
	out = protowire.AppendTag(out, chunkData, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(data))
	out = append(out, lead...)
	*b.buf, b.piece = out, piece
}

// An Assembler puts the chunks of one stream together. The zero value is
// ready; it is used by the one goroutine that receives.
type Assembler struct {
	open  map[uint64]partial
	bytes int // of the frames that are open, when they are whole
}

// partial is what has come of a frame.
type partial struct {
	have *large.Buffer
	size uint64 // as its first chunk said
}

// A chunk is the frame of that name, taken apart by hand. Its data is part of
// the batch.
type chunk struct {
	id, size uint64
	data     []byte
}

func (c *chunk) parse(body []byte) error {
	return fields(body, func(num protowire.Number, typ protowire.Type, rest []byte) (n int) {
		switch {
		case num == chunkID && typ == protowire.VarintType:
			c.id, n = protowire.ConsumeVarint(rest)
		case num == chunkTotal && typ == protowire.VarintType:
			c.size, n = protowire.ConsumeVarint(rest)
		case num == chunkData && typ == protowire.BytesType:
			c.data, n = protowire.ConsumeBytes(rest)
		}
		return n
	})
}

func chunkFrom(p *clusterclientv1.Chunk) chunk {
	return chunk{id: p.GetId(), size: p.GetSize(), data: p.GetData()}
}

// Add takes a chunk and, when it was the last one of its frame, returns the
// frame in encoded form.
func (a *Assembler) Add(c chunk) (whole []byte, err error) {
	if c.size > MaxFrame {
		return nil, fmt.Errorf("wire: a frame of %d bytes, at most %d are allowed", c.size, MaxFrame)
	}
	begun, ok := a.open[c.id]
	have := begun.have
	if ok && begun.size != c.size {
		return nil, fmt.Errorf("wire: chunks of one frame say that it has %d bytes, and %d", begun.size, c.size)
	}
	if !ok && len(a.open) >= maxOpen {
		return nil, fmt.Errorf("wire: more than %d large frames at once", maxOpen)
	}
	if !ok && len(a.open) > 0 && a.bytes+int(c.size) > maxLarge {
		return nil, fmt.Errorf("wire: large frames of more than %d bytes at once", maxLarge)
	}
	need := have.Len() + len(c.data)
	if uint64(need) > c.size {
		return nil, fmt.Errorf("wire: chunks of %d bytes for a frame of %d", need, c.size)
	}
	if !ok || need > have.Cap() {
		have = grow(have, need, int(c.size))
	}
	have.Write(c.data)
	if uint64(need) < c.size {
		if a.open == nil {
			a.open = make(map[uint64]partial)
		}
		a.open[c.id] = partial{have, c.size}
		if !ok {
			a.bytes += int(c.size)
		}
		return nil, nil
	}
	if ok {
		a.bytes -= int(c.size)
	}
	delete(a.open, c.id)
	return have.Bytes(), nil
}

// grow returns what have, which may be nil, has, with room for need bytes. What
// has come says more than what is announced, size: a peer that only announces
// must not make the receiver take memory.
func grow(have *large.Buffer, need, size int) *large.Buffer {
	room := large.NewBuffer(min(size, 16*need))
	if have != nil {
		room.Write(have.Bytes())
	}
	return room
}
