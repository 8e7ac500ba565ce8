package leader

import (
	"bytes"
	"context"
	"errors"
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

// start runs run, which answers, in a goroutine of its own, unless the request
// has expired or the leader takes no more.
func (s *session) start(c *call, run func(*call)) (taken bool) {
	if refusal := s.enter(c); refusal != nil {
		c.turn.end()
		c.answer(refusal)
		c.in.Release()
		return false
	}
	go func() {
		defer s.leave(c)
		if err := c.late(); err != nil { // expired before it was started
			c.answer(replyError(err))
			return
		}
		run(c)
	}()
	return true
}

// answer sends the reply.
func (c *call) answer(r *wire.Reply) {
	r.ID = c.in.ID
	c.code = codes.Code(r.Code)
	if c.code == codes.Canceled && c.lost(r) {
		return
	}
	if c.direct == nil {
		c.s.reply(r)
		return
	}
	own := *r
	c.direct(&own)
}

// enter counts c as running, or says why it must not be started.
func (s *session) enter(c *call) (refusal *wire.Reply) {
	switch begun, full := s.begin(c); {
	case begun:
		s.w.Expect(1)
		return nil
	case full:
		return s.overLimit("pid %d has %d calls under way already, and no more are allowed by Limits.Calls of the leader", s.peer.PID, s.l.cfg.Limits.Calls)
	}
	return &wire.Reply{NotStarted: true}
}

// begin counts c as running and makes it one of the session's at once: whoever
// ends what runs must not find what is not counted.
func (s *session) begin(c *call) (begun, full bool) {
	if s.l.mayAct() != nil {
		return false, false
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if full = len(s.calls) >= s.l.cfg.Limits.Calls; full || !s.l.beginLocked(c) {
		return false, full
	}
	s.calls[c.in.ID] = c
	return true, false
}

func (s *session) leave(c *call) {
	c.turn.end()
	c.endWith(context.Canceled)
	if c.method != nil {
		c.method.count(s.shard, c.code)
	}
	s.forget(c)
	s.w.Expect(-1)
	s.l.finish(c)
	c.in.Release()
}

func (s *session) forget(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.in.ID] == c {
		delete(s.calls, c.in.ID)
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
	if c := s.here.running(); c != nil {
		calls = append(calls, c)
	}
	return calls
}

// startCall starts what f, which it releases, asks for. The reply goes to
// direct, unless that is nil. It is false when the call certainly is not run.
func (s *session) startCall(f *wire.Call, direct func(*wire.Reply)) (taken bool) {
	c := newCall(s, f)
	c.direct = direct
	if refusal := s.l.cfg.Limits.exceeded(f.Method, len(f.Payload)); refusal != nil {
		s.l.refused.Add(1)
		c.answer(refusal)
		c.in.Release()
		return false
	}
	if c.method = s.l.methods.unary[f.Method]; c.method == nil {
		c.answer(replyError(s.l.methods.unknown(f.Method)))
		c.in.Release()
		return false
	}
	switch {
	case f.Oneway:
		return s.start(c, (*call).runOneway)
	case c.method.shared != nil:
		return s.startShared(c)
	default:
		return s.start(c, (*call).serve)
	}
}

// serve runs the method's handler and answers.
func (c *call) serve() {
	if refusal := c.enters(); refusal != nil {
		c.answer(refusal)
		return
	}
	defer c.leaves()
	var r wire.Reply
	c.method.pace.measure(func() { c.run(&r) })
	c.answer(&r)
}

// runOneway answers the call before it runs the handler.
func (c *call) runOneway() {
	if refusal := c.enters(); refusal != nil {
		c.answer(refusal)
		return
	}
	defer c.leaves()
	c.answer(&wire.Reply{})
	var r wire.Reply
	c.run(&r)
	c.code = codes.Code(r.Code)
	if r.Code != 0 {
		c.s.l.failed.Add(1)
		if times, due := c.s.l.repeats.Due("oneway " + c.in.Method); due {
			c.s.l.log.Warn("oneway call failed", "method", c.in.Method, "pid", c.s.peer.PID, "code", codes.Code(r.Code), "error", r.Message, "times", times)
		}
	}
}

// run runs the method's handler and fills in its reply.
func (c *call) run(r *wire.Reply) {
	returned := false
	defer func() { c.recovered(returned, recover(), r) }()
	c.invoke(r)
	if c.finish(r); !r.Fits() {
		*r = *tooLarge("the result with its metadata, or the error with its details")
	}
	returned = true
}

// recovered makes r the reply of a call whose user code has not returned but
// panicked with p or, when that is nil, ended its goroutine.
func (c *call) recovered(returned bool, p any, r *wire.Reply) {
	if returned {
		return
	}
	c.endWith(context.Canceled)
	c.s.l.panicked(c.in.Method, p)
	if p != nil {
		*r = *replyError(status.Errorf(codes.Internal, "%q panicked in the leader: %v", c.in.Method, p))
		return
	}
	*r = *replyError(status.Errorf(codes.Internal, "%q called runtime.Goexit in the leader", c.in.Method))
	if !c.in.Oneway {
		c.answer(r) // nobody comes back to do it
	}
}

// panicked tells of a handler that has panicked with p.
func (l *Leader) panicked(method string, p any) {
	if times, due := l.repeats.Due("panic " + method); due {
		l.log.Error("handler panicked", "method", method, "panic", p, "times", times, "stack", string(debug.Stack()))
	}
}

func (c *call) invoke(r *wire.Reply) {
	if c.in.Codec == codec.Bytes.Name() && c.method.bytes != nil && c.s.l.plainBytes {
		result, err := c.method.bytes(c, bytes.Clone(c.in.Payload))
		if err != nil {
			*r = *replyError(err)
		} else {
			c.carry(r, codec.Bytes, result)
		}
		return
	}
	in, ok := codec.Named(c.in.Codec, c.s.l.cfg.Codec)
	if !ok {
		*r = *replyError(status.Errorf(codes.InvalidArgument, "the leader has no codec %q", c.in.Codec))
		return
	}
	result, err := c.method.invoke(c, func(target any) error {
		if err := in.Unmarshal(c.in.Payload, target); err != nil {
			return status.Errorf(codes.InvalidArgument, "decode the argument of %q: %v", c.in.Method, err)
		}
		return nil
	})
	if err != nil {
		*r = *replyError(err)
		return
	}
	c.encode(r, in, result)
}

func tooLarge(what string) *wire.Reply {
	return &wire.Reply{Code: int32(codes.ResourceExhausted), Message: what, TooLarge: true}
}

// encode puts result in r, in the codec of the request where that is one for
// plain values.
func (c *call) encode(r *wire.Reply, in codec.Codec, result any) {
	if in == codec.Proto || in == codec.Bytes {
		in = c.s.l.cfg.Codec
	}
	out := codec.For(result, in)
	data, err := codec.Encode(out, result)
	if err != nil {
		*r = *replyError(status.Errorf(codes.Internal, "encode the result of %q: %v", c.in.Method, err))
		return
	}
	c.carry(r, out, data)
}

// carry makes r a reply with data, which is in codec out.
func (c *call) carry(r *wire.Reply, out codec.Codec, data []byte) {
	if most := c.s.l.cfg.Limits.Message; len(data) > most {
		*r = *tooLarge(fmt.Sprintf("the result has %d bytes, at most %d are allowed by Limits.Message of the leader", len(data), most))
		return
	}
	if c.direct != nil && out == codec.Bytes {
		data = bytes.Clone(data) // the handler may go on using its own
	}
	r.Codec, r.Payload = out.Name(), data
}

func (s *session) startPublish(f *clusterclientv1.Publish) {
	s.start(newCall(s, &wire.Call{ID: f.GetId(), Method: "publish", Deadline: f.GetDeadline()}), func(c *call) {
		p, ok := s.l.up.(Publisher)
		if !ok {
			c.answer(replyError(status.Error(codes.Unimplemented, "the upstream cannot publish")))
			return
		}
		c.upstream(func() error { return p.Publish(c, f.GetKey(), f.GetData()) })
	})
}

// upstream answers with the outcome of an operation of the upstream, in the
// call's turn if it has one. Somebody else may have come to lead since the call
// was taken, all the more if it had to wait.
func (c *call) upstream(op func() error) {
	var r wire.Reply
	func() {
		returned := false
		defer func() { c.recovered(returned, recover(), &r) }()
		err := c.turn.wait(c)
		switch {
		case err != nil:
		case c.s.l.mayAct() != nil:
			r.NotStarted = true
		default:
			err = op()
		}
		if err != nil {
			r = *replyError(err)
		}
		returned = true
	}()
	c.answer(&r)
}

// replyError returns the reply that carries err as a gRPC status.
func replyError(err error) *wire.Reply {
	if e, ok := errors.AsType[overLimitError](err); ok {
		return e.reply
	}
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
