package follower

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A request is something the leader answers with a Reply. It is sent once or,
// when that does no harm, once to each of several leaders.
type request struct {
	op, key string
	again   again     // may be made again when its outcome is unknown
	call    wire.Call // what is sent, unless
	frame   builder   // this builds something else
	waits   error     // what the leader may wait for, if that is known
}

// again says whether a request whose outcome is unknown is made again.
type again int

const (
	never again = iota
	always
	ifIdempotent // as the leader has registered the method
)

func (q *request) repeatable(l *link) bool {
	return q.again == always || q.again == ifIdempotent && l.idempotent[q.key]
}

// A builder returns the frame of a request, nil if it has made sure itself
// that the link sends it. The deadline is in Unix nanoseconds.
type builder func(id uint64, deadline int64) *clusterclientv1.RequestFrame

// An attempt is one sending of a request on one link. One that was answered is
// used again; of others the link's queue may still hold a part.
type attempt struct {
	done   chan outcome // one slot; filled once for each attempt
	reply  wire.Reply   // set before done when answered
	handed atomic.Bool  // the leader may have it
	timer  *time.Timer
}

// outcome is how an attempt ended.
type outcome int

const (
	answered outcome = iota
	lost             // the link has ended
	closed           // the client was closed
)

func newAttempt() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &attempt{done: make(chan outcome, 1), timer: t}
}

// request sends q to the leader and returns the reply and the link it came
// over. It waits for a leader if need be, until ctx ends or, if that has no
// deadline, as long as a call may take. A request that certainly was not
// started is made again with the next leader; one whose outcome is unknown
// only if it is repeatable.
func (f *Follower) request(ctx context.Context, q *request) (wire.Reply, *link, error) {
	deadline := f.deadline(ctx)
	var l *link
	for {
		var err error
		if l, err = f.await(ctx, deadline, q, l); err != nil {
			return wire.Reply{}, nil, err
		}
		reply, state, err := l.attempt(ctx, deadline, q)
		switch {
		case state == tryNext, state == unknown && q.repeatable(l):
			continue
		case state == unknown:
			err = f.fail(errs.OutcomeUnknown, q.op, q.key, fmt.Errorf("the leader was %s: %w", l, plain(context.Cause(l.ctx))))
		}
		return reply, l, err
	}
}

// progress is how far one attempt came.
type progress int

const (
	settled progress = iota // there is a reply, or an error
	tryNext                 // the leader certainly did not start it
	unknown                 // the leader was lost and may have started it
)

// attempt makes q on l.
func (l *link) attempt(ctx context.Context, deadline time.Time, q *request) (reply wire.Reply, state progress, err error) {
	a := l.f.attempts.Get().(*attempt)
	a.handed.Store(false)
	id := l.f.ids.Add(1)
	if !l.expect(id, a) {
		l.f.attempts.Put(a)
		return reply, tryNext, nil
	}
	l.w.Expect(1)
	defer l.w.Expect(-1)
	l.send(id, deadline, q, a)
	a.timer.Reset(time.Until(deadline))
	defer a.timer.Stop()
	var end outcome
	select {
	case end = <-a.done:
	case <-ctx.Done():
		err = l.f.ended(ctx, q.op, q.key, q.waits)
	case <-a.timer.C:
		err = l.f.timedOut(q.op, q.key, q.waits)
	}
	if err != nil && !l.giveUp(id, a) {
		end, err = <-a.done, nil // it was just being answered
	}
	switch {
	case err != nil:
		return reply, settled, err
	case end == closed:
		return reply, settled, l.f.closedErr(q.op, q.key)
	case end == lost && a.handed.Load():
		return reply, unknown, nil
	case end == lost:
		return reply, tryNext, nil
	}
	reply, a.reply = a.reply, wire.Reply{}
	l.f.attempts.Put(a)
	switch {
	case reply.NotStarted:
		return reply, tryNext, nil
	case onlyEnded(ctx, deadline, &reply):
		return reply, settled, l.f.timeOver(ctx, q)
	}
	return reply, settled, nil
}

// timeOver returns the error of a request whose deadline has come, or whose
// context has ended.
func (f *Follower) timeOver(ctx context.Context, q *request) error {
	if _, own := ctx.Deadline(); own || ctx.Err() != nil {
		<-ctx.Done() // at once, or any moment now
		return f.ended(ctx, q.op, q.key, nil)
	}
	return f.timedOut(q.op, q.key, nil)
}

// onlyEnded reports whether all that the leader says is that the caller's time
// is over, which it learns at the same moment as the caller. What the caller
// gets must not depend on who was first.
func onlyEnded(ctx context.Context, deadline time.Time, reply *wire.Reply) bool {
	switch codes.Code(reply.Code) {
	case codes.DeadlineExceeded:
		return !time.Now().Before(deadline)
	case codes.Canceled:
		return ctx.Err() != nil
	}
	return false
}

func (l *link) send(id uint64, deadline time.Time, q *request, a *attempt) {
	if q.frame != nil {
		if f := q.frame(id, deadline.UnixNano()); f != nil {
			l.w.Send(f, &a.handed)
		}
		return
	}
	q.call.ID = id
	if !q.call.Oneway { // the handler of a oneway call may take longer than its caller waits
		q.call.Deadline = deadline.UnixNano()
	}
	if l.direct == nil {
		l.w.SendCall(&q.call, &a.handed)
		return
	}
	a.handed.Store(true)
	call := q.call
	call.Payload = bytes.Clone(call.Payload) // the caller may go on using its own
	l.direct(&call)
}

// expect makes the reply to id go to a; false when the link is over.
func (l *link) expect(id uint64, a *attempt) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		return false
	}
	l.waiting[id] = a
	return true
}

func (l *link) takeReply(reply *wire.Reply) {
	if a := l.forget(reply.ID); a != nil {
		reply.Keep()
		a.reply = *reply
		a.done <- answered
	}
}

// forget returns the attempt that waits for the reply to id, which from then
// on goes nowhere.
func (l *link) forget(id uint64) *attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.waiting[id]
	delete(l.waiting, id)
	return a
}

// giveUp tells the leader that nobody waits for the reply to id. It is false
// when the reply, or the end, has just come.
func (l *link) giveUp(id uint64, a *attempt) bool {
	if l.forget(id) == nil {
		return false
	}
	l.cancelCall(id, a)
	return true
}

// cancelCall tells the leader so. What it tells must not come before the
// request, which would then run unhindered.
func (l *link) cancelCall(id uint64, a *attempt) {
	l.w.SendAfter(&a.handed, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Cancel{
		Cancel: &clusterclientv1.Cancel{Id: id},
	}})
}

// endAll ends every attempt, and those that come later.
func (l *link) endAll(how outcome) {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for id, a := range waiting {
		if how == closed {
			l.cancelCall(id, a)
		}
		a.done <- how
	}
}

func (l *link) underWay() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// answer turns a reply that says no into an error that carries the same gRPC
// status.
func (f *Follower) answer(op, key string, r *wire.Reply) error {
	if codes.Code(r.Code) == codes.OK {
		return nil
	}
	if r.TooLarge {
		return f.fail(errs.TooLarge, op, key, errors.New(r.Message))
	}
	st := status.New(codes.Code(r.Code), r.Message)
	if len(r.Status) > 0 {
		if p := st.Proto(); proto.Unmarshal(r.Status, p) == nil {
			st = status.FromProto(p)
		}
	}
	return f.fail(errs.Remote, op, key, st.Err())
}
