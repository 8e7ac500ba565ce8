package follower

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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

// do makes q and returns the link that the leader's yes came over, or its no
// as an error.
func (f *Follower) do(ctx context.Context, q *request) (*link, error) {
	a, l, err := f.request(ctx, q)
	if err != nil {
		return nil, err
	}
	defer f.release(a)
	return l, f.answer(q.op, q.key, &a.reply)
}

// request sends q to the leader and returns the attempt that was answered, to
// be released, and the link it was made on. It waits for a leader if need be,
// until ctx ends or, if that has no deadline, as long as a call may take. A
// request that certainly was not started is made again with the next leader;
// one whose outcome is unknown only if it is repeatable.
func (f *Follower) request(ctx context.Context, q *request) (*attempt, *link, error) {
	deadline := f.deadline(ctx)
	var l *link
	for {
		var err error
		if l, err = f.await(ctx, deadline, q, l); err != nil {
			return nil, nil, err
		}
		a, state, err := l.attempt(ctx, deadline, q)
		switch {
		case state == tryNext, state == unknown && q.repeatable(l):
			continue
		case state == unknown:
			err = f.fail(errs.OutcomeUnknown, q.op, q.key, fmt.Errorf("the leader was %s: %w", l, plain(context.Cause(l.ctx))))
		}
		return a, l, err
	}
}

// progress is how far one attempt came.
type progress int

const (
	settled progress = iota // there is a reply, or an error
	tryNext                 // the leader certainly did not start it
	unknown                 // the leader was lost and may have started it
)

// attempt makes q on l. What it returns is to be released when it is settled
// without an error.
func (l *link) attempt(ctx context.Context, deadline time.Time, q *request) (*attempt, progress, error) {
	over := ctx.Done() // of the caller's own making, and may fail; from here on nothing may, for others wait for this one
	a := l.f.attempts.Get().(*attempt)
	a.handed.Store(false)
	id, ok := l.waiting.add(a, deadline)
	if !ok {
		l.f.attempts.Put(a)
		return nil, tryNext, nil
	}
	l.w.Expect(1)
	l.send(id, deadline, q, a)
	end := l.wait(over, id, a)
	l.w.Expect(-1)
	if end == answered {
		l.w.CallerCame()
	}
	switch {
	case end == given:
		return nil, settled, l.f.timeOver(ctx, q, cmp.Or(l.silentError(), q.waits))
	case end == closed:
		return nil, settled, l.f.closedErr(q.op, q.key)
	case end == lost && a.handed.Load():
		return nil, unknown, nil
	case end == lost:
		return nil, tryNext, nil
	case a.reply.NotStarted:
		l.f.release(a)
		return nil, tryNext, nil
	case onlyEnded(ctx, deadline, &a.reply):
		l.f.release(a)
		return nil, settled, l.f.timeOver(ctx, q, nil)
	}
	return a, settled, nil
}

// wait returns how the attempt ended. When the caller has no more time, which
// closes over, the leader is told.
func (l *link) wait(over <-chan struct{}, id uint64, a *attempt) (end outcome) {
	if over == nil {
		end = <-a.done
	} else {
		select {
		case end = <-a.done:
		case <-over:
			if l.waiting.take(id) == nil {
				return <-a.done // it was just being answered
			}
			end = given
		}
	}
	if end == given {
		l.cancelCall(id, a)
	}
	return end
}

// timeOver returns the error of a request whose deadline has come, or whose
// context has ended, while it waited for on.
func (f *Follower) timeOver(ctx context.Context, q *request, on error) error {
	if _, own := ctx.Deadline(); own || ctx.Err() != nil {
		<-ctx.Done() // at once, or any moment now
		return f.ended(ctx, q.op, q.key, on)
	}
	return f.timedOut(q.op, q.key, on)
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
	q.call.ID, q.call.Deadline = id, deadline.UnixNano()
	if l.direct == nil {
		l.w.SendCall(&q.call, &a.handed)
		return
	}
	call := q.call
	call.Payload = bytes.Clone(call.Payload) // the caller may go on using its own
	// Even if the link has ended by now, which hides the reply: what was not
	// taken is not unknown.
	a.handed.Store(l.direct(&call))
}

// cancelCall tells the leader that nobody waits for the reply to id. What it
// tells must not come before the request, which would then run unhindered.
func (l *link) cancelCall(id uint64, a *attempt) {
	l.w.SendAfter(&a.handed, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Cancel{
		Cancel: &clusterclientv1.Cancel{Id: id},
	}})
}

// endAll ends every attempt, and those that come later.
func (l *link) endAll(how outcome) {
	for id, a := range l.waiting.end() {
		if how == closed {
			l.cancelCall(id, a)
		}
		a.done <- how
	}
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
	if r.OverLimit {
		return f.fail(errs.Limit, op, key, errors.New(r.Message))
	}
	st := status.New(codes.Code(r.Code), r.Message)
	if len(r.Status) > 0 {
		if p := st.Proto(); proto.Unmarshal(r.Status, p) == nil {
			st = status.FromProto(p)
		}
	}
	return f.fail(errs.Remote, op, key, st.Err())
}
