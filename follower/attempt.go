package follower

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// An attempt is one sending of a request on one link. One that was answered is
// used again; of others the link's queue may still hold a part.
type attempt struct {
	done   chan outcome // one slot; filled once for each attempt
	reply  wire.Reply   // set before done when answered
	handed atomic.Bool  // the leader may have it

	// Guarded by the waitlist's mutex.
	id       uint64
	deadline time.Time
	timer    *time.Timer // nil until the deadline is near
}

// outcome is how an attempt ended.
type outcome int

const (
	answered outcome = iota
	given            // up, since the caller has no more time
	lost             // the link has ended
	closed           // the client was closed
)

func newAttempt() any { return &attempt{done: make(chan outcome, 1)} }

// release lets go of an attempt that was answered.
func (f *Follower) release(a *attempt) {
	a.reply.Release()
	a.reply = wire.Reply{}
	f.attempts.Put(a)
}

// lookEvery is how often a waitlist looks for deadlines that come near. Most
// calls are over by then, and cost no timer.
const lookEvery = 100 * time.Millisecond

// slotBits is how many bits of an id say where its attempt is.
const slotBits = 24

// A waitlist has the attempts of a link that wait for replies.
type waitlist struct {
	mu     sync.Mutex // guards what follows
	slots  []*attempt
	free   []uint32 // indices of slots
	made   uint64   // attempts so far
	over   bool     // takes no more
	timer  *time.Timer
	looked time.Time // deadlines before have a timer; zero when nobody looks
}

func newWaitlist() *waitlist {
	w := &waitlist{}
	w.timer = time.AfterFunc(time.Hour, w.look)
	w.timer.Stop()
	return w
}

// add makes a wait until its deadline, and returns its id; false when the
// list takes no more.
func (w *waitlist) add(a *attempt, deadline time.Time) (id uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || len(w.slots)-len(w.free) == 1<<slotBits {
		return 0, false
	}
	var slot uint32
	if n := len(w.free); n > 0 {
		slot = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		slot = uint32(len(w.slots))
		w.slots = append(w.slots, nil)
	}
	w.made++
	a.id, a.deadline = w.made<<slotBits|uint64(slot), deadline
	w.slots[slot] = a
	if w.looked.IsZero() {
		w.looked = time.Now().Add(lookEvery)
		w.timer.Reset(lookEvery)
	}
	if deadline.Before(w.looked) {
		w.armLocked(a)
	}
	return a.id, true
}

// take returns the attempt that id stands for, which from then on waits no
// more; nil when it does not.
func (w *waitlist) take(id uint64) *attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.takeLocked(id)
}

func (w *waitlist) takeLocked(id uint64) *attempt {
	slot := id & (1<<slotBits - 1)
	if slot >= uint64(len(w.slots)) || w.slots[slot] == nil || w.slots[slot].id != id {
		return nil
	}
	a := w.slots[slot]
	w.slots[slot] = nil
	w.free = append(w.free, uint32(slot))
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
	return a
}

// takeAll appends the attempts that replies are for, and a nil for each that is
// for none.
func (w *waitlist) takeAll(replies []wire.Reply, to []*attempt) []*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range replies {
		to = append(to, w.takeLocked(replies[i].ID))
	}
	return to
}

// armLocked gives up on a when its deadline comes.
func (w *waitlist) armLocked(a *attempt) {
	id := a.id
	a.timer = time.AfterFunc(time.Until(a.deadline), func() {
		if a := w.take(id); a != nil {
			a.done <- given
		}
	})
}

// look arms the timers of deadlines that come before it looks again.
func (w *waitlist) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = time.Time{}
	if w.over || len(w.free) == len(w.slots) {
		return
	}
	w.looked = time.Now().Add(lookEvery)
	w.timer.Reset(lookEvery)
	for _, a := range w.slots {
		if a != nil && a.timer == nil && a.deadline.Before(w.looked) {
			w.armLocked(a)
		}
	}
}

// end returns all attempts by their ids. The list takes no more.
func (w *waitlist) end() map[uint64]*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make(map[uint64]*attempt, len(w.slots)-len(w.free))
	for _, a := range w.slots {
		if a == nil {
			continue
		}
		all[a.id] = a
		if a.timer != nil {
			a.timer.Stop()
			a.timer = nil
		}
	}
	w.slots, w.free, w.over = nil, nil, true
	w.timer.Stop()
	return all
}

func (w *waitlist) len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.slots) - len(w.free)
}
