package follower

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
)

// NewStream opens a stream of a gRPC service that the leader's upstream
// registered; generated stubs call it. It waits, within ctx, for a leader. The
// stream belongs to that leader: when the leader is lost the stream ends with
// ErrOutcomeUnknown, and is for the caller to open again. A stream has no
// default deadline.
func (f *Follower) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	l, err := f.await(ctx, f.deadline(ctx), &request{op: "open stream", key: method}, nil)
	if err != nil {
		return nil, err
	}
	s, err := l.conn.NewStream(metadata.AppendToOutgoingContext(ctx, wire.SessionKey, string(l.session)), desc, method, opts...)
	if err != nil {
		return nil, (&clientStream{f: f, l: l, method: method}).explain(ctx, err, nil)
	}
	return &clientStream{ClientStream: s, f: f, l: l, method: method}, nil
}

// clientStream tells the end that a leader gave to a stream from the end of
// the leader.
type clientStream struct {
	grpc.ClientStream
	f      *Follower
	l      *link
	method string
}

func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return s.explain(s.Context(), err, s.ClientStream.Trailer())
}

// Trailer returns what the handler sent.
func (s *clientStream) Trailer() metadata.MD {
	md := s.ClientStream.Trailer().Copy()
	delete(md, wire.AnsweredKey)
	return md
}

func (s *clientStream) explain(ctx context.Context, err error, trailer metadata.MD) error {
	switch {
	case len(trailer.Get(wire.AnsweredKey)) > 0:
		return s.f.fail(errs.Remote, "stream", s.method, err)
	case ctx.Err() != nil:
		return s.f.ended(ctx, "stream", s.method, nil)
	}
	select {
	case <-s.f.done:
		return s.f.closedErr("stream", s.method)
	default:
		return s.f.fail(errs.OutcomeUnknown, "stream", s.method, fmt.Errorf("the leader was %s: %w", s.l, err))
	}
}
