package follower

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
)

// NewStream opens a stream of a gRPC service that the leader's upstream
// registered; generated stubs call it. It waits, within ctx, for a leader, and
// asks that for admission: one that is leaving sends it to the next leader. The
// stream belongs to its leader, which lets it finish when it leaves, for up to
// 5 s, while messages go on both ways. When the leader is lost, or does not wait
// any longer, the stream ends with ErrOutcomeUnknown, and is for the caller to
// open again. A stream has no
// default deadline. It fails with ErrInvalid for what cannot be the full name of
// a gRPC method, "/package.Service/Method". A message of more than 64 MiB, and a
// bit, ends it with ErrTooLarge, whoever sends it.
//
// What a leader has sent when it leaves is there to be read, however late: that is
// what this process takes ahead of its reader, 512 KiB. What it could not
// send, since the reader was further behind, it waits to be rid of for 1 s more;
// a reader that takes longer gets ErrOutcomeUnknown in its place.
func (f *Follower) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if err := checkStream(method); err != nil {
		return nil, f.fail(errs.Invalid, "open stream", abridged(method), err)
	}
	deadline := f.deadline(ctx)
	var l *link
	for {
		var err error
		if l, err = f.await(ctx, deadline, &request{op: "open stream", key: method}, l); err != nil {
			return nil, err
		}
		ticket, state, err := l.admission(ctx, deadline, method)
		if err != nil {
			return nil, err
		}
		if state != settled {
			continue
		}
		s, err := l.newStream(ctx, ticket, desc, method, opts...)
		if err == nil {
			return &clientStream{ClientStream: s, f: f, l: l, method: method, caller: ctx}, nil
		}
		switch status.Code(err) {
		case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
			// ctx has ended, or the connection has: no leader saw the stream.
		default:
			return nil, f.fail(errs.Invalid, "open stream", method, err)
		}
	}
}

// checkStream says what is wrong with what cannot be the name of a stream: gRPC's
// server would refuse it, or cut it off, before the leader hears of it.
func checkStream(method string) error {
	if err := wire.CheckMethod(method); err != nil {
		return err
	}
	if !strings.HasPrefix(method, "/") || strings.Count(method, "/") < 2 || strings.ContainsFunc(method, unicode.IsControl) {
		return errors.New("the name of a stream looks like /package.Service/Method")
	}
	return nil
}

// errLeadershipOver ends a stream that nobody serves any more.
var errLeadershipOver = errors.New("its leadership is over")

// clientStream tells the end that a leader gave to a stream from the end of
// the leader, and from one that a message of the program has given it.
type clientStream struct {
	grpc.ClientStream
	f      *Follower
	l      *link
	method string
	caller context.Context // Context of the stream also ends with the stream

	sending sync.Mutex // held while a message is sent; taken before failing
	failing sync.Mutex // guards what follows
	failed  error      // what was wrong with a message, which has ended the stream
}

func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if isUndecodable(err) {
		return s.fail(errs.Invalid, err)
	}
	s.sending.Lock() // until whoever may have ended the stream has said so, which takes no time
	defer s.sending.Unlock()
	s.failing.Lock()
	defer s.failing.Unlock()
	if s.failed != nil {
		return s.failed
	}
	return s.explain(err, s.ClientStream.Trailer())
}

// isUndecodable reports whether err says that what has come is nothing for the
// message that was given to RecvMsg. So gRPC says it, and ends the stream.
func isUndecodable(err error) bool {
	st := status.Convert(err)
	return st.Code() == codes.Internal && strings.Contains(st.Message(), "failed to unmarshal the received message")
}

// SendMsg fails with ErrTooLarge for a message that is, and with ErrInvalid for
// one that does not encode or comes after CloseSend, and ends the stream then.
func (s *clientStream) SendMsg(m any) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	err := s.ClientStream.SendMsg(m)
	switch status.Code(err) {
	case codes.ResourceExhausted:
		return s.fail(errs.TooLarge, err)
	case codes.Internal:
		return s.fail(errs.Invalid, err)
	}
	return err
}

// fail notes that a message has ended the stream.
func (s *clientStream) fail(code errs.Code, err error) error {
	s.failing.Lock()
	defer s.failing.Unlock()
	if s.failed == nil {
		s.failed = s.f.fail(code, "stream", s.method, plain(err))
	}
	return s.failed
}

// Trailer returns what the handler sent.
func (s *clientStream) Trailer() metadata.MD {
	md := s.ClientStream.Trailer().Copy()
	delete(md, wire.AnsweredKey)
	return md
}

func (s *clientStream) explain(err error, trailer metadata.MD) error {
	switch {
	case s.expired(err), s.caller.Err() != nil && len(trailer.Get(wire.AnsweredKey)) == 0:
		return s.f.ended(s.caller, "stream", s.method, nil)
	case len(trailer.Get(wire.AnsweredKey)) > 0:
		return s.f.fail(errs.Remote, "stream", s.method, err)
	case status.Code(err) == codes.ResourceExhausted: // says gRPC, here or there, of a message
		return s.f.fail(errs.TooLarge, "stream", s.method, plain(err))
	}
	select {
	case <-s.f.done:
		return s.f.closedErr("stream", s.method)
	default:
	}
	if status.Code(err) == codes.Canceled { // by gRPC, here or there
		err = errLeadershipOver
	}
	return s.f.fail(errs.OutcomeUnknown, "stream", s.method, fmt.Errorf("the leader was %s: %w", s.l, err))
}

// expired reports whether all that err says is that the caller's time is over,
// which the leader learns at the same moment. What the caller gets must not
// depend on who was first.
func (s *clientStream) expired(err error) bool {
	deadline, ok := s.caller.Deadline()
	if !ok || status.Code(err) != codes.DeadlineExceeded || time.Now().Before(deadline) {
		return false
	}
	<-s.caller.Done() // at once, or any moment now
	return true
}
