package leader

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// maxCalls is how many calls of one follower run at once. One more is refused
// with ResourceExhausted.
const maxCalls = 16384

// A call is one request of a follower that runs user code.
type call struct {
	s      *session
	id     uint64
	method string
	ctx    context.Context
	cancel context.CancelFunc
}

// start runs run in a goroutine of its own and sends what it returns, unless
// the request has expired or the leader takes no more.
func (s *session) start(id uint64, method string, deadline int64, run func(*call) *clusterclientv1.Reply) {
	c := &call{s: s, id: id, method: method}
	if deadline != 0 {
		c.ctx, c.cancel = context.WithDeadline(s.ctx, time.Unix(0, deadline))
	} else {
		c.ctx, c.cancel = context.WithCancel(s.ctx)
	}
	if refusal := s.enter(c); refusal != nil {
		c.cancel()
		s.reply(id, refusal)
		return
	}
	go func() {
		defer s.leave(c)
		if err := c.ctx.Err(); err != nil { // expired before it was started
			s.reply(id, replyError(err))
			return
		}
		s.reply(id, run(c))
	}()
}

// enter counts c as running, or says why it must not be started.
func (s *session) enter(c *call) (refusal *clusterclientv1.Reply) {
	s.mu.Lock()
	full := len(s.calls) >= maxCalls
	if !full {
		s.calls[c.id] = c
	}
	s.mu.Unlock()
	if full {
		return replyError(status.Errorf(codes.ResourceExhausted, "pid %d has %d calls under way already", s.peer.PID, maxCalls))
	}
	if s.l.begin(c) {
		return nil
	}
	s.forget(c)
	return &clusterclientv1.Reply{NotStarted: true}
}

func (s *session) leave(c *call) {
	c.cancel()
	s.forget(c)
	s.l.finish(c)
}

func (s *session) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] == c {
		delete(s.calls, c.id)
	}
}

func (s *session) cancelCall(id uint64) {
	s.mu.Lock()
	c := s.calls[id]
	s.mu.Unlock()
	if c != nil {
		c.cancel()
	}
}

func (s *session) startInvoke(f *clusterclientv1.Call) {
	m := s.l.methods.unary[f.GetMethod()]
	if m == nil {
		s.reply(f.GetId(), replyError(s.l.methods.unknown(f.GetMethod())))
		return
	}
	s.start(f.GetId(), m.name, f.GetDeadline(), func(c *call) *clusterclientv1.Reply {
		if !f.GetOneway() {
			return c.invoke(m, f)
		}
		s.reply(f.GetId(), &clusterclientv1.Reply{})
		if r := c.invoke(m, f); r.GetCode() != 0 {
			s.l.failed.Add(1)
			s.l.log.Warn("oneway call failed", "method", m.name, "pid", s.peer.PID, "code", codes.Code(r.GetCode()), "error", r.GetMessage())
		}
		return nil
	})
}

// invoke runs the method's handler.
func (c *call) invoke(m *method, f *clusterclientv1.Call) (r *clusterclientv1.Reply) {
	in, ok := codec.Named(f.GetCodec(), c.s.l.cfg.Codec)
	if !ok {
		return replyError(status.Errorf(codes.InvalidArgument, "the leader has no codec %q", f.GetCodec()))
	}
	t := &transportStream{method: m.name}
	ctx := withCaller(c.ctx, c.s.peer)
	ctx = metadata.NewIncomingContext(ctx, wire.MetadataFrom(f.GetMetadata()))
	ctx = grpc.NewContextWithServerTransportStream(ctx, t)
	defer func() {
		if p := recover(); p != nil {
			r = c.s.l.panicked(m.name, p)
		}
	}()
	result, err := m.invoke(ctx, func(target any) error {
		if err := in.Unmarshal(f.GetPayload(), target); err != nil {
			return status.Errorf(codes.InvalidArgument, "decode the argument of %q: %v", m.name, err)
		}
		return nil
	})
	if err != nil {
		r = replyError(err)
	} else {
		r = c.encode(in, result)
	}
	r.Header, r.Trailer = t.sent()
	return r
}

// encode returns the reply that carries result, in the codec of the request
// where that is one for plain values.
func (c *call) encode(in codec.Codec, result any) *clusterclientv1.Reply {
	if in == codec.Proto || in == codec.Bytes {
		in = c.s.l.cfg.Codec
	}
	out := codec.For(result, in)
	data, err := out.Marshal(result)
	if err != nil {
		return replyError(status.Errorf(codes.Internal, "encode the result of %q: %v", c.method, err))
	}
	if len(data) > wire.MaxMessage {
		return replyError(status.Errorf(codes.ResourceExhausted, "the result of %q has %d bytes, at most %d are allowed", c.method, len(data), wire.MaxMessage))
	}
	return &clusterclientv1.Reply{Codec: out.Name(), Payload: data}
}

func (s *session) startPublish(f *clusterclientv1.Publish) {
	s.start(f.GetId(), "publish", f.GetDeadline(), func(c *call) *clusterclientv1.Reply {
		p, ok := s.l.up.(Publisher)
		if !ok {
			return replyError(status.Error(codes.Unimplemented, "the upstream cannot publish"))
		}
		return c.upstream(func() error { return p.Publish(c.ctx, f.GetKey(), f.GetData()) })
	})
}

// upstream answers with the outcome of an operation of the upstream.
func (c *call) upstream(op func() error) (r *clusterclientv1.Reply) {
	defer func() {
		if p := recover(); p != nil {
			r = c.s.l.panicked(c.method, p)
		}
	}()
	if err := op(); err != nil {
		return replyError(err)
	}
	return &clusterclientv1.Reply{}
}

func (l *Leader) panicked(method string, p any) *clusterclientv1.Reply {
	l.log.Error("handler panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
	return replyError(status.Errorf(codes.Internal, "%q panicked in the leader: %v", method, p))
}

// replyError returns the reply that carries err as a gRPC status.
func replyError(err error) *clusterclientv1.Reply {
	st := errs.ToStatus(err)
	r := &clusterclientv1.Reply{Code: int32(st.Code()), Message: clean(st.Message())}
	if p := st.Proto(); len(p.GetDetails()) > 0 {
		if b, err := proto.Marshal(p); err == nil {
			r.Status = b
		}
	}
	return r
}

func (r *Registry) unknown(name string) error {
	if r.streams[name] != nil {
		return status.Errorf(codes.Unimplemented, "method %q is a stream", name)
	}
	return status.Errorf(codes.Unimplemented, "the leader has no method %q", name)
}

// transportStream collects the metadata that a handler sends.
type transportStream struct {
	method string

	mu              sync.Mutex // guards what follows
	header, trailer metadata.MD
	headerSent      bool
}

var errHeaderSent = errors.New("header was sent already")

func (t *transportStream) Method() string { return t.method }

func (t *transportStream) SetHeader(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.headerSent {
		return fmt.Errorf("%q: %w", t.method, errHeaderSent)
	}
	t.header = metadata.Join(t.header, md)
	return nil
}

func (t *transportStream) SendHeader(md metadata.MD) error {
	if err := t.SetHeader(md); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.headerSent = true
	return nil
}

func (t *transportStream) SetTrailer(md metadata.MD) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trailer = metadata.Join(t.trailer, md)
	return nil
}

func (t *transportStream) sent() (header, trailer []*clusterclientv1.Metadata) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return wire.MetadataTo(t.header), wire.MetadataTo(t.trailer)
}
