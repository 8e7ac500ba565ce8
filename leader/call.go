package leader

import (
	"bytes"
	"fmt"
	"runtime/debug"

	"google.golang.org/grpc/codes"
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

// start runs run in a goroutine of its own and sends what it returns, unless
// the request has expired or the leader takes no more.
func (s *session) start(c *call, run func(*call) *wire.Reply) {
	if refusal := s.enter(c); refusal != nil {
		c.turn.end()
		c.answer(refusal)
		return
	}
	go func() {
		defer s.leave(c)
		if err := c.Err(); err != nil { // expired before it was started
			c.answer(replyError(err))
			return
		}
		c.answer(run(c))
	}()
}

// answer sends the reply; nil when there has been one.
func (c *call) answer(r *wire.Reply) {
	if r != nil {
		c.code = codes.Code(r.Code)
	}
	if c.direct == nil || r == nil {
		c.s.reply(c.id, r)
		return
	}
	r.ID = c.id
	c.direct(r)
}

// enter counts c as running, or says why it must not be started.
func (s *session) enter(c *call) (refusal *wire.Reply) {
	s.mu.Lock()
	full := len(s.calls) >= maxCalls
	if !full {
		s.calls[c.id] = c
	}
	s.mu.Unlock()
	if full {
		s.l.refused.Add(1)
		return replyError(status.Errorf(codes.ResourceExhausted, "pid %d has %d calls under way already", s.peer.PID, maxCalls))
	}
	if s.l.begin(c) {
		s.w.Expect(1)
		return nil
	}
	s.forget(c)
	return &wire.Reply{NotStarted: true}
}

func (s *session) leave(c *call) {
	c.turn.end()
	c.finish()
	if c.method != nil {
		c.method.count(s.shard, c.code)
	}
	s.forget(c)
	s.w.Expect(-1)
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

// appendCalls appends the calls of the session that run now.
func (s *session) appendCalls(calls []*call) []*call {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		calls = append(calls, c)
	}
	return calls
}

func (s *session) startInvoke(f *wire.Call) { s.startCall(f, nil) }

// startCall starts what f asks for. The reply goes to direct, unless that is
// nil.
func (s *session) startCall(f *wire.Call, direct func(*wire.Reply)) {
	c := newCall(s, f.ID, f.Method, f.Deadline)
	c.method, c.codec, c.payload, c.metadata = s.l.methods.unary[f.Method], f.Codec, f.Payload, f.Metadata
	c.direct, c.oneway = direct, f.Oneway
	if c.method == nil {
		c.answer(replyError(s.l.methods.unknown(f.Method)))
		return
	}
	if c.oneway {
		s.start(c, (*call).runOneway)
	} else {
		s.start(c, (*call).run)
	}
}

// runOneway answers the call before it runs the handler.
func (c *call) runOneway() *wire.Reply {
	c.answer(&wire.Reply{})
	r := c.run()
	c.code = codes.Code(r.Code)
	if r.Code != 0 {
		c.s.l.failed.Add(1)
		c.s.l.log.Warn("oneway call failed", "method", c.name, "pid", c.s.peer.PID, "code", codes.Code(r.Code), "error", r.Message)
	}
	return nil
}

// run runs the method's handler.
func (c *call) run() (r *wire.Reply) {
	defer func() {
		if p := recover(); p != nil {
			r = c.s.l.panicked(c.name, p)
		}
	}()
	in, ok := codec.Named(c.codec, c.s.l.cfg.Codec)
	if !ok {
		return replyError(status.Errorf(codes.InvalidArgument, "the leader has no codec %q", c.codec))
	}
	result, err := c.method.invoke(c, func(target any) error {
		if err := in.Unmarshal(c.payload, target); err != nil {
			return status.Errorf(codes.InvalidArgument, "decode the argument of %q: %v", c.name, err)
		}
		return nil
	})
	if err != nil {
		r = replyError(err)
	} else {
		r = c.encode(in, result)
	}
	if r.Header, r.Trailer = c.sent(); !r.Fits() {
		return tooLarge("the result with its metadata, or the error with its details")
	}
	return r
}

func tooLarge(what string) *wire.Reply {
	return &wire.Reply{Code: int32(codes.ResourceExhausted), Message: what, TooLarge: true}
}

// encode returns the reply that carries result, in the codec of the request
// where that is one for plain values.
func (c *call) encode(in codec.Codec, result any) *wire.Reply {
	if in == codec.Proto || in == codec.Bytes {
		in = c.s.l.cfg.Codec
	}
	out := codec.For(result, in)
	data, err := codec.Encode(out, result)
	if err != nil {
		return replyError(status.Errorf(codes.Internal, "encode the result of %q: %v", c.name, err))
	}
	if len(data) > wire.MaxMessage {
		return tooLarge(fmt.Sprintf("the result has %d bytes, at most %d are allowed", len(data), wire.MaxMessage))
	}
	if c.direct != nil && out == codec.Bytes {
		data = bytes.Clone(data) // the handler may go on using its own
	}
	return &wire.Reply{Codec: out.Name(), Payload: data}
}

func (s *session) startPublish(f *clusterclientv1.Publish) {
	s.start(newCall(s, f.GetId(), "publish", f.GetDeadline()), func(c *call) *wire.Reply {
		p, ok := s.l.up.(Publisher)
		if !ok {
			return replyError(status.Error(codes.Unimplemented, "the upstream cannot publish"))
		}
		return c.upstream(func() error { return p.Publish(c, f.GetKey(), f.GetData()) })
	})
}

// upstream answers with the outcome of an operation of the upstream.
func (c *call) upstream(op func() error) (r *wire.Reply) {
	defer func() {
		if p := recover(); p != nil {
			r = c.s.l.panicked(c.name, p)
		}
	}()
	if err := op(); err != nil {
		return replyError(err)
	}
	return &wire.Reply{}
}

func (l *Leader) panicked(method string, p any) *wire.Reply {
	l.log.Error("handler panicked", "method", method, "panic", p, "stack", string(debug.Stack()))
	return replyError(status.Errorf(codes.Internal, "%q panicked in the leader: %v", method, p))
}

// replyError returns the reply that carries err as a gRPC status.
func replyError(err error) *wire.Reply {
	st := errs.ToStatus(err)
	r := &wire.Reply{Code: int32(st.Code()), Message: clean(st.Message())}
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
