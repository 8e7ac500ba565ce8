package leader

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// ServeStream runs a streaming method for the follower whose session is named
// in the stream's metadata, and which came over conn. A trailer tells the
// follower that the leader itself ended the stream; it is missing when only the
// leadership has ended. cut ends the stream's context then, and so whatever the
// handler waits for of the stream.
func (l *Leader) ServeStream(method string, stream grpc.ServerStream, conn any, cut context.CancelFunc) error {
	answered := func(err error) error {
		stream.SetTrailer(metadata.Pairs(wire.AnsweredKey, "1"))
		return err
	}
	md, _ := metadata.FromIncomingContext(stream.Context()) // a copy
	l.mu.Lock()
	s := l.sessions[takeOne(md, wire.SessionKey)]
	l.mu.Unlock()
	if s == nil || s.conn != conn {
		return answered(status.Error(codes.Unauthenticated, "the stream belongs to no session of this leader"))
	}
	ticket := takeOne(md, wire.TicketKey)
	ctx := metadata.NewIncomingContext(withCaller(stream.Context(), s.peer), md)
	c := newCall(s, &wire.Call{Method: method})
	c.end = cut
	if ticket == "" && !l.begin(c) { // a follower of a build that does not ask
		return answered(status.Error(codes.Unavailable, errLeaving.Error()))
	}
	if ticket != "" && !l.redeem(ticket, c) {
		return status.Error(codes.Unavailable, errLeaving.Error())
	}
	defer l.finish(c)
	m := l.methods.streams[method]
	if m == nil {
		return answered(l.methods.unknownStream(method))
	}
	err := l.runStream(m, method, &serverStream{ServerStream: stream, ctx: ctx})
	if err != nil && c.lost(replyError(err)) {
		return err
	}
	return answered(err)
}

// takeOne takes the one value of key out of md; it is empty if there is none.
func takeOne(md metadata.MD, key string) string {
	all := md.Get(key)
	delete(md, key)
	if len(all) != 1 {
		return ""
	}
	return all[0]
}

// runStream runs the handler of a stream, in a goroutine that it may end.
func (l *Leader) runStream(m *streamMethod, method string, stream grpc.ServerStream) error {
	done := make(chan error, 1)
	go func() {
		err := status.Errorf(codes.Internal, "%q called runtime.Goexit in the leader", method)
		defer func() {
			if p := recover(); p != nil {
				l.panicked(method, p)
				err = status.Errorf(codes.Internal, "%q panicked in the leader: %v", method, p)
			}
			done <- err
		}()
		err = m.handler(m.impl, stream)
	}()
	return <-done
}

func (r *Registry) unknownStream(name string) error {
	if r.unary[name] != nil {
		return status.Errorf(codes.Unimplemented, "method %q is no stream", name)
	}
	return r.unknown(name)
}

// serverStream is a stream whose context knows the caller. When that has ended,
// with the leadership, nothing can be sent or received any more; gRPC's own goes
// on for as long as nobody has to wait.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (s *serverStream) SendMsg(m any) error {
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return s.ServerStream.SendMsg(m)
}

func (s *serverStream) RecvMsg(m any) error {
	if err := s.ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return s.ServerStream.RecvMsg(m)
}
