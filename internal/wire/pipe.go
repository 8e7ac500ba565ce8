package wire

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// pipeDepth is how many batches a direction of a Pipe holds before the sender
// waits, as a transport's window would make it.
const pipeDepth = 16

// Pipe returns the two ends of a stream inside one process. What is sent on
// one is received on the other, in encoded form in between, so that neither
// end can tell it from a stream between processes. Both end with ctx, and
// closing either one ends both.
func Pipe(ctx context.Context) (a, b *PipeEnd) {
	ctx, cancel := context.WithCancelCause(ctx)
	there, back := make(chan []byte, pipeDepth), make(chan []byte, pipeDepth)
	return &PipeEnd{ctx, cancel, there, back}, &PipeEnd{ctx, cancel, back, there}
}

// A PipeEnd is one end of a [Pipe]. It is a [Stream].
type PipeEnd struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	out    chan<- []byte
	in     <-chan []byte
}

// Context ends with the pipe.
func (p *PipeEnd) Context() context.Context { return p.ctx }

// Close ends the pipe; what is under way is lost.
func (p *PipeEnd) Close() { p.cancel(io.EOF) }

// SendMsg sends a *Batch or a protobuf message.
func (p *PipeEnd) SendMsg(m any) error {
	var data []byte
	switch m := m.(type) {
	case *Batch:
		data = m.bytes()
	case proto.Message:
		var err error
		if data, err = proto.Marshal(m); err != nil {
			return err
		}
	default:
		return fmt.Errorf("wire: a pipe cannot carry %T", m)
	}
	select {
	case p.out <- data:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// CloseSend makes the other end's RecvMsg return io.EOF after everything that
// was sent before.
func (p *PipeEnd) CloseSend() error {
	select {
	case p.out <- nil:
		return nil
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
}

// RecvMsg receives into [Frames] or a protobuf message. What was sent before the pipe
// ended is still received.
func (p *PipeEnd) RecvMsg(m any) error {
	select {
	case data := <-p.in:
		return decode(data, m)
	case <-p.ctx.Done():
	}
	select {
	case data := <-p.in:
		return decode(data, m)
	default:
		return context.Cause(p.ctx)
	}
}

func decode(data []byte, m any) error {
	if data == nil {
		return io.EOF
	}
	if f, ok := m.(*Frames); ok {
		f.data = data
		return nil
	}
	return proto.Unmarshal(data, m.(proto.Message))
}
