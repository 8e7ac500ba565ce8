package leader

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// rampSlots is how many watches may have begun without having reported
	// anything yet.
	rampSlots = 128

	// rampPatience is how long such a watch keeps others from beginning. One
	// that takes longer may never report, and nobody should wait for that.
	rampPatience = time.Second
)

// A ramp lets watches of the upstream begin: so many a second, so many at once,
// and those first that most processes wait for. A takeover, or an upstream that
// is back, would else make them begin all in one instant, on every host.
//
//	           its turn              reported, ended, or rampPatience over
//	waiting ───────────▶ beginning ─────────────────────────────────────▶ over
//
// One goroutine, see Leader.beginWatches, begins those whose turn has come.
type ramp struct {
	rate int           // watches that may begin a second, and at once after a rest; 0 for no bound
	bell chan struct{} // one slot: there may be one whose turn has come

	mu        sync.Mutex // guards what follows, and the starts; taken last
	waiting   startQueue
	ready     []*start // their turn has come
	queued    uint64   // starts so far
	beginning int
	first     *start // of those, in the order in which they began
	last      *start
	spent     time.Time   // until when the rate is used up
	timer     *time.Timer // until the rate allows the next one
	slow      *time.Timer // until first has had its time
	slowSet   bool
}

// A start is one watch that is to begin.
type start struct {
	r       *ramp
	key     *key
	wanted  int    // processes that subscribe to the key
	order   uint64 // among those that are wanted alike
	at      int    // in ramp.waiting
	began   bool
	settled bool

	until        time.Time // others wait for it
	before, next *start    // in the list of those that are beginning
}

// queue adds the start of a watch of k that so many processes want.
func (r *ramp) queue(k *key, wanted int) *start {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued++
	st := &start{r: r, key: k, wanted: wanted, order: r.queued}
	if len(r.waiting) == 0 && r.beginning < rampSlots && r.takeLocked() == 0 { // as nearly all do
		r.beginLocked(st)
		return st
	}
	heap.Push(&r.waiting, st)
	r.passLocked()
	return st
}

// pass adds the start of a watch of k that is under way, and so waits for
// nothing.
func (r *ramp) pass(k *key) *start {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := &start{r: r, key: k, began: true, settled: true}
	r.readyLocked(st)
	return st
}

// take returns one whose turn has come, nil when there is none.
func (r *ramp) take() *start {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 {
		r.ready = nil // so that a burst does not keep its memory
		return nil
	}
	st := r.ready[0]
	r.ready[0] = nil
	r.ready = r.ready[1:]
	return st
}

func (r *ramp) readyLocked(st *start) {
	r.ready = append(r.ready, st)
	select {
	case r.bell <- struct{}{}:
	default:
	}
}

// weigh notes how many processes want the watch now.
func (st *start) weigh(wanted int) {
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	st.wanted = wanted
	if !st.began && !st.settled {
		heap.Fix(&st.r.waiting, st.at)
	}
}

// settle makes way for others. It is idempotent.
func (st *start) settle() {
	st.r.mu.Lock()
	defer st.r.mu.Unlock()
	st.settleLocked()
}

func (st *start) settleLocked() {
	switch {
	case st.settled:
		return
	case st.began:
		st.r.endLocked(st)
		st.r.passLocked()
	default:
		heap.Remove(&st.r.waiting, st.at)
	}
	st.settled = true
}

// beginLocked adds st to those that are beginning.
func (r *ramp) beginLocked(st *start) {
	st.began, st.until, st.before = true, time.Now().Add(rampPatience), r.last
	if r.last == nil {
		r.first = st
	} else {
		r.last.next = st
	}
	r.last = st
	r.beginning++
	r.watchSlowLocked()
	r.readyLocked(st)
}

func (r *ramp) endLocked(st *start) {
	if st.before == nil {
		r.first = st.next
	} else {
		st.before.next = st.next
	}
	if st.next == nil {
		r.last = st.before
	} else {
		st.next.before = st.before
	}
	st.before, st.next = nil, nil
	r.beginning--
}

// watchSlowLocked sees to it that somebody looks when the first of those that
// are beginning has had its time: one timer for all, since there may be many.
func (r *ramp) watchSlowLocked() {
	switch {
	case r.first == nil || r.slowSet:
		return
	case r.slow == nil:
		r.slow = time.AfterFunc(time.Until(r.first.until), r.passSlow)
	default:
		r.slow.Reset(time.Until(r.first.until))
	}
	r.slowSet = true
}

// passSlow has nobody wait any longer for those that have had their time.
func (r *ramp) passSlow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slowSet = false
	for r.first != nil && time.Until(r.first.until) <= 0 {
		r.first.settleLocked()
	}
	r.watchSlowLocked()
}

// passLocked gives those their turn that can have it.
func (r *ramp) passLocked() {
	for len(r.waiting) > 0 && r.beginning < rampSlots {
		if pause := r.takeLocked(); pause > 0 {
			r.againLocked(pause)
			return
		}
		r.beginLocked(heap.Pop(&r.waiting).(*start))
	}
}

// takeLocked takes one beginning off the rate, or returns how long to wait for
// that.
func (r *ramp) takeLocked() (pause time.Duration) {
	if r.rate == 0 {
		return 0
	}
	now, each := time.Now(), time.Second/time.Duration(r.rate)
	spent := r.spent
	if spent.Before(now) {
		spent = now
	}
	spent = spent.Add(each)
	if over := spent.Sub(now) - time.Duration(r.rate)*each; over > 0 {
		return over
	}
	r.spent = spent
	return 0
}

func (r *ramp) againLocked(pause time.Duration) {
	if r.timer == nil {
		r.timer = time.AfterFunc(pause, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.passLocked()
		})
		return
	}
	r.timer.Reset(pause)
}

// stop ends the ramp; nobody has a turn any more.
func (r *ramp) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range []*time.Timer{r.timer, r.slow} {
		if t != nil {
			t.Stop()
		}
	}
}

// A startQueue is a heap of starts, the most wanted first.
type startQueue []*start

func (q startQueue) Len() int { return len(q) }

func (q startQueue) Less(i, j int) bool {
	if q[i].wanted != q[j].wanted {
		return q[i].wanted > q[j].wanted
	}
	return q[i].order < q[j].order
}

func (q startQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *startQueue) Push(x any) {
	st := x.(*start)
	st.at = len(*q)
	*q = append(*q, st)
}

func (q *startQueue) Pop() any {
	last := len(*q) - 1
	st := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return st
}
