package leader

import (
	"context"
	"sync"
)

// turns lets the upstream's operations on one registration run one after the
// other, in the order in which they were asked for. The zero turns is ready.
type turns struct {
	mu   sync.Mutex // guards last
	last map[regID]*turn
}

// A turn is the place of one operation in the order.
type turn struct {
	t      *turns
	id     regID
	before <-chan struct{} // closed when all operations before are over; nil when there are none
	over   chan struct{}
}

// take takes the next place. The turn must be ended, whether or not it was
// waited for.
func (t *turns) take(id regID) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	u := &turn{t: t, id: id, over: make(chan struct{})}
	if last := t.last[id]; last != nil {
		u.before = last.over
	}
	if t.last == nil {
		t.last = make(map[regID]*turn)
	}
	t.last[id] = u
	return u
}

// wait returns when the operations before are over, or with ctx's error. Nobody
// is before a nil turn.
func (u *turn) wait(ctx context.Context) error {
	if u == nil || u.before == nil {
		return ctx.Err()
	}
	select {
	case <-u.before:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// end lets the next operation begin, though not before those that came before
// this one are over, which this one may not have waited for. A nil turn has no
// end.
func (u *turn) end() {
	if u == nil {
		return
	}
	if u.before == nil {
		u.pass()
		return
	}
	select {
	case <-u.before:
		u.pass()
	default:
		go func() { // ends with those operations, which Leader.Close waits for
			<-u.before
			u.pass()
		}()
	}
}

func (u *turn) pass() {
	close(u.over)
	u.t.mu.Lock()
	defer u.t.mu.Unlock()
	if u.t.last[u.id] == u {
		delete(u.t.last, u.id)
	}
}
