package wire

import (
	"fmt"
	"math"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// Frames is a batch as it was received, a message that [Stream.RecvMsg] takes.
// Its frames are decoded one by one, and those that there are many of without
// reflection.
//
// A batch comes in as many segments as the transport had to read. They are not
// put together: only a frame that lies across two of them is copied.
type Frames struct {
	data     []byte     // what is left of the segment whose turn it is
	hold     mem.Buffer // of data; nil when that is the collector's
	segments mem.BufferSlice
	turns    int // segments that had theirs
	skip     int // bytes of the next one that had theirs
}

// take takes over what is received, without copying it.
func (f *Frames) take(segments mem.BufferSlice) {
	for _, s := range segments {
		s.Ref()
	}
	f.segments = append(f.segments, segments...)
}

// release gives the bytes of the batch back, unless a [Call] or [Reply] has
// kept them.
func (f *Frames) release() {
	f.drop()
	for _, s := range f.segments[f.turns:] {
		s.Free()
	}
	clear(f.segments)
	f.segments, f.turns, f.skip = f.segments[:0], 0, 0
}

// drop gives back the segment whose turn it is.
func (f *Frames) drop() {
	if f.hold != nil {
		f.hold.Free()
	}
	f.data, f.hold = nil, nil
}

// next returns the next frame in encoded form, nil at the end. It is valid
// until next is called again.
func (f *Frames) next() ([]byte, error) {
	for {
		if len(f.data) == 0 && !f.turn() {
			return nil, nil
		}
		frame, n := cut(f.data)
		switch {
		case n >= 0:
			f.data = f.data[n:]
			if frame != nil {
				return frame, nil
			}
		case n == truncated && f.turns < len(f.segments):
			f.straddle()
		default:
			return nil, fmt.Errorf("wire: a batch does not decode: %w", protowire.ParseError(n))
		}
	}
}

// truncated is what package protowire says of a field whose end is missing.
const truncated = -1

// cut returns the frame that b begins with and its length, with all that is
// around it. Of a field that is no frame there is only the length.
func cut(b []byte) (frame []byte, length int) {
	num, typ, n := consumeTag(b)
	if n < 0 {
		return nil, n
	}
	if num != framesField || typ != protowire.BytesType {
		m := protowire.ConsumeFieldValue(num, typ, b[n:])
		if m < 0 {
			return nil, m
		}
		return nil, n + m
	}
	frame, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return nil, m
	}
	return frame, n + m
}

// turn goes on to the next segment. It is false when there is none.
func (f *Frames) turn() bool {
	f.drop()
	if f.turns == len(f.segments) {
		return false
	}
	f.hold = f.segments[f.turns]
	f.data = f.hold.ReadOnlyData()[f.skip:]
	f.turns, f.skip = f.turns+1, 0
	return true
}

// straddle puts a field that lies across segments into one of its own, as far
// as they have it.
func (f *Frames) straddle() {
	left := missing(f.data)
	there := f.segments[f.turns:].Len() - f.skip
	buf := buffers.Get(len(f.data) + min(left, there))
	*buf = append(*buf, f.data...)
	f.drop()
	for left > 0 && f.turns < len(f.segments) {
		next := f.segments[f.turns].ReadOnlyData()[f.skip:]
		n := min(left, len(next))
		*buf = append(*buf, next[:n]...)
		left -= n
		if f.skip += n; n == len(next) {
			f.segments[f.turns].Free()
			f.turns, f.skip = f.turns+1, 0
		}
	}
	f.hold, f.data = mem.NewBuffer(buf, buffers), *buf
}

// missing returns how many bytes a field that is truncated lacks, or one when
// it cannot be told yet.
func missing(b []byte) int {
	_, typ, n := consumeTag(b)
	if n < 0 || typ != protowire.BytesType {
		return 1
	}
	size, m := protowire.ConsumeVarint(b[n:])
	if m < 0 {
		return 1
	}
	return int(min(size, math.MaxInt32)) - (len(b) - n - m)
}
