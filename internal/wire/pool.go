package wire

import (
	"sync"

	"google.golang.org/grpc/mem"
)

const (
	// smallBuffer is the capacity of what a frame of HTTP/2 with some calls or a
	// value is read into, and dataFrame that for any other: gRPC's limit for one.
	smallBuffer = 4 << 10
	dataFrame   = 16 << 10

	// laneBuffer is the capacity of what a lane is read into when there is much.
	laneBuffer = 64 << 10

	// maxPooled is the capacity above which a buffer of batches is left to the
	// collector.
	maxPooled = 4 * chunkSize
)

// FramePool returns the pool for what is received. Unlike gRPC's own it does
// not clear the buffers, which are filled before anybody reads them.
func FramePool() mem.BufferPool { return frames }

var frames mem.BufferPool = &framePool{small: sized{size: smallBuffer}, large: sized{size: dataFrame}, lane: sized{size: laneBuffer}}

type framePool struct{ small, large, lane sized }

// Get returns a buffer of that length.
func (p *framePool) Get(length int) *[]byte {
	switch {
	case length <= smallBuffer:
		return p.small.get(length)
	case length <= dataFrame:
		return p.large.get(length)
	case length <= laneBuffer:
		return p.lane.get(length)
	}
	b := make([]byte, length)
	return &b
}

// Put takes a buffer back, whose length may have changed.
func (p *framePool) Put(b *[]byte) {
	switch cap(*b) {
	case smallBuffer:
		p.small.pool.Put(b)
	case dataFrame:
		p.large.pool.Put(b)
	case laneBuffer:
		p.lane.pool.Put(b)
	}
}

// sized has buffers of one capacity.
type sized struct {
	size int
	pool sync.Pool
}

func (s *sized) get(length int) *[]byte {
	b, ok := s.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, length, s.size)
		return &fresh
	}
	*b = (*b)[:length]
	return b
}

// buffers has the buffers of batches.
var buffers mem.BufferPool = &bufferPool{}

type bufferPool struct{ pool sync.Pool }

// Get returns an empty buffer; what gRPC asks for has no length either way.
func (p *bufferPool) Get(length int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		*b = (*b)[:0]
		return b
	}
	b := make([]byte, 0, length+length/4)
	return &b
}

// Put takes a buffer back.
func (p *bufferPool) Put(b *[]byte) {
	if cap(*b) <= maxPooled {
		p.pool.Put(b)
	}
}
