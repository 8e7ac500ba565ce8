package leader

import (
	"cmp"
	"sync"

	"github.com/clusterclient/clusterclient/internal/large"
	"github.com/clusterclient/clusterclient/internal/patience"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A warmRun is one watch of a warm key, and the [Sink] of it.
type warmRun struct {
	k       *warmKey
	grouped bool          // every update counts
	roomed  bool          // it takes a slot of Warm.room until it is heard of
	first   chan struct{} // closed when it has reported, or ended
	done    chan struct{} // closed when it has ended

	taking sync.Mutex // held while a report is taken, before all others

	mu      sync.Mutex // guards what follows; taken after warmKey.mu
	updates []warmUpdate
	dropped int // of the oldest updates
	heard   bool
	err     error         // why it has ended
	sink    Sink          // of the leader, when that has taken the watch over
	changed chan struct{} // closed and replaced when an update comes
	halted  bool          // told to end
	stop    func()        // nil until it was started
}

// A warmUpdate is what the upstream has reported. Unless every update counts,
// only the newest one has its data.
type warmUpdate struct {
	Update
	mark *clusterclientv1.Mark
}

// begin starts the watch.
func (r *warmRun) begin() {
	if !r.k.w.add(r) {
		r.End(errLeaving)
		return
	}
	var stop func()
	_ = patience.Run("it", func() error { // r was told of what went wrong
		stop = r.k.w.source.start(r.k.name, r)
		return nil
	})
	r.mu.Lock()
	r.stop = stop
	halted := r.halted
	r.mu.Unlock()
	if halted {
		r.k.w.source.stop(r.k.name, stop)
	}
}

// halt ends the watch.
func (r *warmRun) halt() {
	r.mu.Lock()
	var stop func()
	if !r.halted {
		r.halted, stop = true, r.stop
	}
	r.mu.Unlock()
	r.k.w.source.stop(r.k.name, stop)
}

// Report takes an update from the upstream.
func (r *warmRun) Report(u Update) {
	r.taking.Lock()
	defer r.taking.Unlock()
	if sink := r.taker(); sink != nil {
		sink.Report(u)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.err != nil:
		return
	case len(u.Data) > r.k.w.most:
		go r.halt() // not from within the upstream; the leader's own watch will say why
		return
	case u.Deleted:
		u.Data = nil
	}
	u.Data = large.Clone(u.Data) // the upstream may use its buffer again
	if n := len(r.updates); n > 0 && !r.grouped {
		r.updates[n-1].Data = nil
	}
	if len(r.updates) >= warmMarks {
		r.updates = r.updates[1:]
		r.dropped++
	}
	r.updates = append(r.updates, warmUpdate{u, markOf(u)})
	r.hearLocked()
	close(r.changed)
	r.changed = make(chan struct{})
}

// taker returns the sink of the leader that has taken the watch over, if one
// has.
func (r *warmRun) taker() Sink {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sink
}

// End notes why the watch has ended.
func (r *warmRun) End(err error) {
	r.mu.Lock()
	if r.err != nil {
		r.mu.Unlock()
		return
	}
	r.err = cmp.Or(err, errWatchEnded)
	r.hearLocked()
	sink := r.sink
	r.mu.Unlock()
	r.k.w.remove(r)
	close(r.done)
	if sink != nil {
		sink.End(err)
	}
}

// hearLocked makes room for others once the upstream has said something.
func (r *warmRun) hearLocked() {
	if !r.heard {
		r.heard = true
		close(r.first)
		if r.roomed {
			<-r.k.w.room
		}
	}
}

// trouble returns why the watch has ended, nil when it goes on.
func (r *warmRun) trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *warmRun) change() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

// find returns where in is among the updates; false when it is not known
// whether the watch has come so far. A value without a version may be an
// earlier one that was equal.
func (r *warmRun) find(in *clusterclientv1.Inheritance) (position int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.updates) == 0 || r.err != nil || len(in.GetGroups()) > 0 && !r.grouped {
		return 0, false
	}
	last := in.GetLast()
	if last == nil { // nothing was said that this could be behind of
		return r.dropped, true
	}
	for i := len(r.updates) - 1; i >= 0 && len(last.GetVersion()) > 0; i-- {
		if m := r.updates[i].mark; string(m.GetVersion()) == string(last.GetVersion()) && sameMark(m, last) {
			return r.dropped + i, true
		}
	}
	return 0, false
}

// from returns the updates from a position on, and where the next one will be.
func (r *warmRun) from(position int) (updates []Update, next int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := max(0, position-r.dropped)
	if n := len(r.updates); !r.grouped && first < n {
		first = n - 1
	}
	for _, u := range r.updates[first:] {
		updates = append(updates, u.Update)
	}
	return updates, r.dropped + len(r.updates)
}

// lead gives sink what is reported from a position on.
func (r *warmRun) lead(position int, sink Sink) {
	r.taking.Lock()
	defer r.taking.Unlock()
	updates, _ := r.from(position)
	for _, u := range updates {
		sink.Report(u)
	}
	r.mu.Lock()
	r.sink, r.updates = sink, nil
	err := r.err
	r.mu.Unlock()
	if err != nil {
		sink.End(err)
	}
}
