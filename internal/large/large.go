// Package large copies, compares and goes through bytes of which there may be
// many, so that nothing small has to wait for it.
//
// The loops inside the functions of package bytes cannot be interrupted: while
// one goes through 64 MiB, a processor does nothing else for milliseconds, and
// neither does a process whose collector waits for it. And where processors
// are few, a thread that never rests keeps one from other processes for a whole
// time slice.
package large

import (
	"bytes"
	"runtime"
	"strings"
	"time"
	"unsafe"
)

// piece is how much is done between two chances for others.
const piece = 64 << 10

// A Courtesy is shown by one who has much to do. The zero Courtesy is ready; it
// is for one goroutine.
type Courtesy struct{ enough time.Time }

// Yield lets goroutines, and threads of other processes, go first that wait for
// this processor. For as long as the last one took it does nothing: among
// threads that never rest, courtesy without end would be starvation.
func (c *Courtesy) Yield() {
	begun := time.Now()
	if begun.Before(c.enough) {
		return
	}
	runtime.Gosched()
	yieldThread()
	now := time.Now()
	c.enough = now.Add(now.Sub(begun))
}

// Clone returns a copy of b; nil for nil.
func Clone(b []byte) []byte {
	if len(b) <= piece {
		return bytes.Clone(b)
	}
	c := NewBuffer(len(b))
	c.Write(b)
	return c.Bytes()
}

// Equal reports whether a and b are the same bytes.
func Equal(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	var others Courtesy
	for len(a) > piece {
		if !bytes.Equal(a[:piece], b[:piece]) {
			return false
		}
		a, b = a[piece:], b[piece:]
		others.Yield()
	}
	return bytes.Equal(a, b)
}

// Each calls do with one piece of b after the other.
func Each(b []byte, do func(piece []byte)) {
	var others Courtesy
	for len(b) > piece {
		do(b[:piece])
		b = b[piece:]
		others.Yield()
	}
	do(b)
}

// A Buffer is memory of a fixed size that is filled from its beginning. It is
// not cleared before: to clear 64 MiB, at once, is what takes longest.
type Buffer struct {
	b      strings.Builder
	others Courtesy
}

// NewBuffer returns a Buffer with room for size bytes.
func NewBuffer(size int) *Buffer {
	c := new(Buffer)
	c.b.Grow(size)
	return c
}

// Len is how many bytes have been written, 0 for a nil Buffer.
func (c *Buffer) Len() int {
	if c == nil {
		return 0
	}
	return c.b.Len()
}

// Cap is how many bytes there is room for.
func (c *Buffer) Cap() int { return c.b.Cap() }

// Write appends p, for which there must be room.
func (c *Buffer) Write(p []byte) {
	for len(p) > piece {
		c.b.Write(p[:piece])
		p = p[piece:]
		c.others.Yield()
	}
	c.b.Write(p)
}

// Bytes returns what was written. Nothing may be written after it.
func (c *Buffer) Bytes() []byte {
	s := c.b.String()
	// The memory of a Builder is the collector's like any other, and nobody
	// else has the string.
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
