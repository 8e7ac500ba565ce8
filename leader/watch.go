package leader

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
)

var errWatchEnded = errors.New("the upstream's watch ended")

// A watching is what a key has of its watch, which is begun again, after a
// pause, whenever it ends by itself. No goroutine waits for any of that.
//
//	           its turn          ended
//	queued ─────────────▶ run ───────────▶ pausing
//	   ▲                                      │
//	   └──────────────────────────────────────┘
//	     the pause is over, or the leader is blind no more
type watching struct {
	run     *run        // under way; nil without one
	start   *start      // of one that has not had its turn; nil without one
	pausing *time.Timer // until the next one; nil without a pause
	warm    *heirloom   // the first one, if it began before the leadership
	retry   backoff.Backoff
	gone    bool // with the key: no other one begins
}

// queueLocked has a watch begin when it is its turn.
func (k *key) queueLocked() {
	if k.warm != nil {
		k.start = k.l.ramp.pass(k)
		return
	}
	k.start = k.l.ramp.queue(k, len(k.subs))
}

// weighLocked lets the ramp know how many want a watch that is to begin.
func (k *key) weighLocked() {
	if k.start != nil {
		k.start.weigh(len(k.subs))
	}
}

// beginWatches begins watches until the leadership ends. The upstream may end
// the goroutine; then another one goes on.
func (l *Leader) beginWatches() {
	over := false
	defer func() {
		if !over {
			l.work.Go(l.beginWatches)
		}
	}()
	for {
		st := l.ramp.take()
		if st != nil {
			st.begin()
			continue
		}
		select {
		case <-l.ramp.bell:
		case <-l.ctx.Done():
			over = true
			return
		}
	}
}

// begin starts the watch, unless its key is gone.
func (st *start) begin() {
	k := st.key
	k.mu.Lock()
	if k.start != st {
		k.mu.Unlock()
		return
	}
	r := &run{k: k, start: st, sees: k.l.sight.sees.Load()}
	r.halted.Store(k.gone)
	warm := k.warm
	k.run, k.start, k.warm = r, nil, nil
	k.l.work.Add(1) // until the run has ended; beginWatches keeps it from being the first
	k.mu.Unlock()
	if warm != nil {
		r.started(warm.start(r))
		return
	}
	r.started(k.l.source.start(k.name, r))
}

// goneLocked ends the watch for good, once stop has been called. It returns
// whether there is one that has not ended.
func (k *key) goneLocked() (stop func(), running bool) {
	k.gone = true
	if k.pausing != nil {
		k.pausing.Stop()
	}
	switch {
	case k.run != nil:
		return k.run.haltLocked(nil), true
	case k.warm != nil:
		return nil, true // it begins, and is stopped then
	case k.start != nil:
		k.start.settle()
		k.start = nil
	}
	return nil, false
}

// watchAnew ends the watch that is under way, for reason; another one follows.
func (k *key) watchAnew(reason error) {
	k.mu.Lock()
	var stop func()
	if k.run != nil {
		stop = k.run.haltLocked(reason)
	}
	k.mu.Unlock()
	k.l.source.stop(k.name, stop)
}

// pause waits before a watch that has failed is tried again: until it is time,
// or the leader is blind no more. sees is of when the watch began.
func (k *key) pause(sees uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.gone:
	case k.l.sight.sees.Load() != sees:
		k.queueLocked()
	default:
		k.pausing = time.AfterFunc(k.retry.Next(), k.unpause)
	}
}

// unpause ends the pause, if there is one.
func (k *key) unpause() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pausing == nil || k.gone {
		return
	}
	k.pausing.Stop()
	k.pausing = nil
	k.queueLocked()
}

// A run is one watch of the upstream, and the [Sink] of it. What is reported
// after it was told to end is ignored.
type run struct {
	k    *key
	sees uint64 // of the sight, when it began

	taking sync.Mutex // held while a report is taken, before any other; guards what follows
	start  *start     // nil once it has reported
	over   bool

	halted atomic.Bool // told to end; set with the key's mutex held, which guards what follows
	why    error       // it was; nil when there is no other watch to follow
	stop   func()      // nil until the watch was started
}

// started notes how the watch is stopped.
func (r *run) started(stop func()) {
	r.k.mu.Lock()
	r.stop = stop
	halted := r.halted.Load()
	r.k.mu.Unlock()
	if halted {
		r.k.l.source.stop(r.k.name, stop)
	}
}

// haltLocked ends the run, once what it returns has been called.
func (r *run) haltLocked(why error) (stop func()) {
	if r.halted.Swap(true) {
		return nil
	}
	r.why = why
	return r.stop
}

// Report takes what the upstream says of the key.
func (r *run) Report(u Update) {
	k := r.k
	r.taking.Lock()
	defer r.taking.Unlock()
	if r.over || r.halted.Load() || k.l.mayAct() != nil {
		return
	}
	if r.start != nil {
		r.start.settle()
		r.start = nil
		k.mu.Lock()
		k.retry.Reset()
		k.mu.Unlock()
	}
	k.l.sight.reported() // first, so that followers hear of that first
	k.report(u)
	k.l.sight.reported() // it may have turned blind for want of this one
}

// End takes the end of the watch.
func (r *run) End(err error) {
	if !r.end() {
		return
	}
	k := r.k
	defer k.l.work.Done()
	k.mu.Lock()
	gone := k.gone
	k.run = nil
	k.failures++
	err = cmp.Or(r.why, err, errWatchEnded)
	k.mu.Unlock()
	if gone {
		k.l.watchEnded(k)
		return
	}
	if k.fail(err.Error()) {
		k.l.trouble.note(k.name, err)
	}
	k.l.sight.failed(err.Error())
	k.pause(r.sees)
}

// end waits for a report that is being taken. It returns false when the run
// had ended.
func (r *run) end() bool {
	r.taking.Lock()
	defer r.taking.Unlock()
	if r.start != nil {
		r.start.settle()
		r.start = nil
	}
	was := r.over
	r.over = true
	return !was
}
