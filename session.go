package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A session is a gRPC stream, on a connection of its own, to somebody who
// holds an address of the cluster.
type session struct {
	conn    *grpc.ClientConn
	stream  grpc.BidiStreamingClient[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]
	cancel  context.CancelFunc
	detach  func() bool // from the context that it was made with, which ends it
	address string
	pending []*clusterclientv1.ResponseFrame // received in one batch, not looked at
	c       *Client
	raw     *gate.Conn
}

// Ways in which an address can fail to answer Hello.
var (
	errNobody    = errors.New("nobody listens")
	errNotOurs   = errors.New("whoever listens does not speak our protocol")
	errHelloLost = errors.New("the connection ended before an answer came")
)

// dialSession connects to address and says hello. It fails with an error that
// is one of the three above.
func (c *Client) dialSession(ctx context.Context, address string, frames ...*clusterclientv1.RequestFrame) (*session, error) {
	raw, err := c.dial(ctx, address)
	if err != nil {
		return nil, err
	}
	conn, err := c.spare.connect(raw, c.opts.limits.patience())
	if err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	silent := time.AfterFunc(c.opts.limits.patience(), cancel)
	defer silent.Stop()
	s := &session{conn: conn, cancel: cancel, detach: context.AfterFunc(ctx, cancel), address: address, c: c, raw: raw}
	s.stream, err = clusterclientv1.NewClusterClientServiceClient(conn).Session(own, grpc.ForceCodecV2(wire.Codec{}))
	if err == nil {
		err = s.stream.Send(&clusterclientv1.SessionRequest{Frames: frames})
	}
	if err != nil {
		err = s.lost(err)
		s.close()
		_ = raw.Close() // if gRPC never came to use it
		return nil, err
	}
	return s, nil
}

// dial connects to address and makes sure of who is there, before anything is
// said or believed.
func (c *Client) dial(ctx context.Context, address string) (*gate.Conn, error) {
	if err := c.reachable(address); err != nil {
		return nil, err
	}
	raw, err := c.opts.network.Dial(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNobody, err)
	}
	conn, _, err := c.policy.Dial(ctx, raw, c.opts.limits.patience())
	if err == nil {
		return conn, nil
	}
	_ = raw.Close()
	switch refused := c.refusedBy(address, err); {
	case refused != nil:
		return nil, refused
	case errors.Is(err, gate.ErrStranger):
		return nil, fmt.Errorf("%w: %w", errNotOurs, err)
	}
	return nil, fmt.Errorf("%w: %w", errHelloLost, err)
}

// lost explains the end of the stream: the other end may have said why.
func (s *session) lost(err error) error {
	if refused := s.c.refusedBy(s.address, s.raw.Refused()); refused != nil {
		return refused
	}
	return fmt.Errorf("%w: %w", errHelloLost, err)
}

func (s *session) close() {
	s.detach()
	s.cancel()
	_ = s.conn.Close()
}

// answer returns the next frame. Silence before the first one ends the
// session when it has lasted too long.
func (s *session) answer(first bool) (*clusterclientv1.ResponseFrame, error) {
	if first {
		silent := time.AfterFunc(s.c.opts.limits.patience(), s.cancel)
		defer silent.Stop()
	}
	for len(s.pending) == 0 {
		batch, err := s.stream.Recv()
		if status.Code(err) == codes.Unimplemented {
			return nil, fmt.Errorf("%w: %w", errNotOurs, err)
		}
		if err != nil {
			return nil, s.lost(err)
		}
		s.pending = batch.GetFrames()
	}
	f := s.pending[0]
	s.pending = s.pending[1:]
	return f, nil
}

// rejection turns a Reject into an error.
func (c *Client) rejection(r *clusterclientv1.Reject) error {
	code := map[clusterclientv1.Code]errs.Code{
		clusterclientv1.Code_CODE_IDENTITY_MISMATCH: errs.IdentityMismatch,
		clusterclientv1.Code_CODE_LEADERSHIP_TAKEN:  errs.LeadershipTaken,
		clusterclientv1.Code_CODE_UPSTREAM:          errs.Upstream,
		clusterclientv1.Code_CODE_LIMIT:             errs.Limit,
	}[r.GetCode()]
	return &rejectedError{
		err:    &Error{Code: code, Op: "join", Name: c.name, Cause: fmt.Errorf("%s %s", describe(r.GetHolder()), r.GetMessage())},
		reject: r,
	}
}

// rejectedError is the answer Reject.
type rejectedError struct {
	err    *Error
	reject *clusterclientv1.Reject
}

func (e *rejectedError) Error() string { return e.err.Error() }
func (e *rejectedError) Unwrap() error { return e.err }

// final reports whether asking again is useless while Create waits.
func (e *rejectedError) final() bool {
	switch e.reject.GetCode() {
	case clusterclientv1.Code_CODE_IDENTITY_MISMATCH, clusterclientv1.Code_CODE_UPSTREAM, clusterclientv1.Code_CODE_PROTOCOL, clusterclientv1.Code_CODE_LIMIT:
		return true
	}
	return false
}

// describe names a peer for people.
func describe(p *clusterclientv1.Peer) string {
	switch {
	case p == nil:
		return "an unknown process"
	case p.GetAddress() != "":
		return fmt.Sprintf("pid %d at %s", p.GetPid(), p.GetAddress())
	}
	return fmt.Sprintf("pid %d", p.GetPid())
}
