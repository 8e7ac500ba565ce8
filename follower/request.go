package follower

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/errs"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A request is something the leader answers with a Reply.
type request struct {
	reply  chan *clusterclientv1.Reply // one slot
	handed atomic.Bool                 // the leader may have it
}

// always and never say whether a request may be made again when its outcome
// is unknown.
func always(*link) bool { return true }
func never(*link) bool  { return false }

// A builder returns the frame of a request, nil if it has made sure itself
// that the link sends it. The deadline is in Unix nanoseconds, 0 for none.
type builder func(id uint64, deadline int64) *clusterclientv1.RequestFrame

// request sends what build returns to the leader and returns the reply and
// the link it came over. It waits for a leader if need be. A request that
// certainly was not started is made again with the next leader; one whose
// outcome is unknown only if repeatable says so.
func (f *Follower) request(ctx context.Context, op, key string, repeatable func(*link) bool, build builder) (*clusterclientv1.Reply, *link, error) {
	var l *link
	for {
		var err error
		if l, err = f.await(ctx, op, key, l); err != nil {
			return nil, nil, err
		}
		reply, err := l.exchange(ctx, op, key, build)
		switch {
		case err == nil && reply != nil:
			return reply, l, nil
		case err == nil, errors.Is(err, errs.ErrOutcomeUnknown) && repeatable(l):
			continue
		default:
			return nil, nil, err
		}
	}
}

// exchange makes one request on l. Without a reply and an error the leader
// certainly did not start it.
func (l *link) exchange(ctx context.Context, op, key string, build builder) (reply *clusterclientv1.Reply, err error) {
	var deadline int64
	if d, ok := ctx.Deadline(); ok {
		deadline = d.UnixNano()
	}
	r := &request{reply: make(chan *clusterclientv1.Reply, 1)}
	id := l.f.ids.Add(1)
	l.expect(id, r)
	if frame := build(id, deadline); frame != nil {
		l.w.Send(frame, &r.handed)
	}
	select {
	case reply = <-r.reply:
	case <-l.ctx.Done():
		select {
		case reply = <-r.reply: // it came just before
		default:
		}
	case <-l.f.done:
		l.giveUp(id, r)
		return nil, l.f.closedErr(op, key)
	case <-ctx.Done():
		l.giveUp(id, r)
		return nil, l.f.ended(ctx, op, key, nil)
	}
	switch {
	case reply.GetNotStarted(), reply == nil && !r.handed.Load():
		return nil, nil
	case reply == nil:
		return nil, l.f.fail(errs.OutcomeUnknown, op, key, fmt.Errorf("the leader was %s: %w", l, context.Cause(l.ctx)))
	case onlyEnded(ctx, reply):
		<-ctx.Done()
		return nil, l.f.ended(ctx, op, key, nil)
	}
	return reply, nil
}

// onlyEnded reports whether all that the leader says is that ctx has ended,
// which it learns at the same moment as the caller. What the caller gets must
// not depend on who was first.
func onlyEnded(ctx context.Context, reply *clusterclientv1.Reply) bool {
	switch codes.Code(reply.GetCode()) {
	case codes.DeadlineExceeded:
		d, ok := ctx.Deadline()
		return ok && !time.Now().Before(d)
	case codes.Canceled:
		return ctx.Err() != nil
	}
	return false
}

// expect makes the reply to id go to r.
func (l *link) expect(id uint64, r *request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[id] = r
}

func (l *link) takeReply(reply *clusterclientv1.Reply) {
	l.mu.Lock()
	r := l.waiting[reply.GetId()]
	delete(l.waiting, reply.GetId())
	l.mu.Unlock()
	if r != nil {
		r.reply <- reply
	}
}

// giveUp tells the leader that nobody waits for the reply to id. What it tells
// must not come before the request, which would then run unhindered.
func (l *link) giveUp(id uint64, r *request) {
	l.mu.Lock()
	delete(l.waiting, id)
	l.mu.Unlock()
	l.w.SendAfter(&r.handed, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Cancel{
		Cancel: &clusterclientv1.Cancel{Id: id},
	}})
}

func (l *link) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// answer turns a reply that says no into an error that carries the same gRPC
// status.
func (f *Follower) answer(op, key string, r *clusterclientv1.Reply) error {
	if codes.Code(r.GetCode()) == codes.OK {
		return nil
	}
	st := status.New(codes.Code(r.GetCode()), r.GetMessage())
	if len(r.GetStatus()) > 0 {
		if p := st.Proto(); proto.Unmarshal(r.GetStatus(), p) == nil {
			st = status.FromProto(p)
		}
	}
	return f.fail(errs.Remote, op, key, st.Err())
}
