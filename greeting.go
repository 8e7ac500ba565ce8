package clusterclient

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// maxHello is how large a hello may be, and a report. Ours have some hundred
	// bytes.
	maxHello = 64 << 10

	// maxGreeting is how many streams of one connection may be about to say
	// hello.
	maxGreeting = 16
)

// greet returns what a stream says first, if not too many of its connection are
// about to say something.
func (s *server) greet(stream grpc.BidiStreamingServer[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse], from *peerConn) (*clusterclientv1.Hello, *clusterclientv1.Report, error) {
	if !from.greets() {
		return nil, nil, status.Errorf(codes.ResourceExhausted, "%d streams of this connection have not said hello", maxGreeting)
	}
	defer from.greeted()
	return s.receiveHello(stream)
}

// receiveHello returns what the first batch of a stream has. A stream that says
// nothing is ended.
func (s *server) receiveHello(stream grpc.BidiStreamingServer[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]) (*clusterclientv1.Hello, *clusterclientv1.Report, error) {
	type first struct {
		batch *clusterclientv1.SessionRequest
		err   error
	}
	got := make(chan first, 1)
	go func() { // ends with the stream, at the latest
		batch, err := stream.Recv()
		got <- first{batch, err}
	}()
	silent := time.NewTimer(s.c.opts.limits.Handshake)
	defer silent.Stop()
	select {
	case f := <-got:
		var hello *clusterclientv1.Hello
		var report *clusterclientv1.Report
		for _, frame := range f.batch.GetFrames() {
			if h := frame.GetHello(); h != nil {
				hello = h
			}
			if r := frame.GetReport(); r != nil {
				report = r
			}
		}
		if f.err == nil && hello == nil {
			f.err = status.Error(codes.InvalidArgument, "the first frame is not hello")
		}
		return hello, report, f.err
	case <-silent.C:
		return nil, nil, status.Error(codes.DeadlineExceeded, "no hello came")
	case <-s.ctx.Done():
		return nil, nil, errStopped
	}
}
