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
// in the stream's metadata, and which came over conn. The trailer it sets tells the follower that the
// leader itself ended the stream.
func (l *Leader) ServeStream(method string, stream grpc.ServerStream, conn any) error {
	defer stream.SetTrailer(metadata.Pairs(wire.AnsweredKey, "1"))
	md, _ := metadata.FromIncomingContext(stream.Context())
	var id string
	if v := md.Get(wire.SessionKey); len(v) == 1 {
		id = v[0]
	}
	l.mu.Lock()
	s := l.sessions[id]
	l.mu.Unlock()
	if s == nil || s.conn != conn {
		return status.Error(codes.Unauthenticated, "the stream belongs to no session of this leader")
	}
	m := l.methods.streams[method]
	if m == nil {
		return l.methods.unknownStream(method)
	}
	delete(md, wire.SessionKey) // FromIncomingContext has made a copy
	ctx := metadata.NewIncomingContext(withCaller(stream.Context(), s.peer), md)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &call{s: s, in: wire.Call{Method: method}, end: cancel}
	if !l.begin(c) {
		return status.Error(codes.Unavailable, errLeaving.Error())
	}
	defer l.finish(c)
	return l.runStream(m, method, &serverStream{ServerStream: stream, ctx: ctx})
}

func (l *Leader) runStream(m *streamMethod, method string, stream grpc.ServerStream) (err error) {
	defer func() {
		if p := recover(); p != nil {
			l.panicked(method, p)
			err = status.Errorf(codes.Internal, "%q panicked in the leader: %v", method, p)
		}
	}()
	return m.handler(m.impl, stream)
}

func (r *Registry) unknownStream(name string) error {
	if r.unary[name] != nil {
		return status.Errorf(codes.Unimplemented, "method %q is no stream", name)
	}
	return r.unknown(name)
}

// serverStream is a stream whose context knows the caller and ends with the
// leadership.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }
