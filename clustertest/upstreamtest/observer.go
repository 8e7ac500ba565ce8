package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// rewatch is the pause before a Watch that returned is called again.
const rewatch = 20 * time.Millisecond

var seed = maphash.MakeSeed()

// An observer watches one key as the leader does and holds every report
// against the key's history.
type observer struct {
	key    string
	past   *history
	cancel context.CancelFunc
	done   chan struct{}
	busy   atomic.Bool // sink is running

	mu       sync.Mutex
	at       int               // index in past of the newest report; guarded by mu
	reports  []report          // guarded by mu
	versions map[string]uint64 // version to hash of data; guarded by mu
	failures []error           // what is wrong for good; guarded by mu
	last     error             // what Watch returned last; guarded by mu
	changed  chan struct{}     // closed and replaced at each change; guarded by mu
}

// A report is an update with a hash of its data at the time.
type report struct {
	leader.Update
	hash uint64
}

// watch starts an observer of key. The check's end ends it.
func (e *env) watch(key string) *observer { return e.watchWith(e.up, key) }

func (e *env) watchWith(up leader.Upstream, key string) *observer {
	ctx, cancel := context.WithCancel(e.ctx)
	o := &observer{
		key:      key,
		past:     e.history(key),
		cancel:   cancel,
		done:     make(chan struct{}),
		versions: map[string]uint64{},
		changed:  make(chan struct{}),
	}
	e.observers = append(e.observers, o)
	go o.run(ctx, up)
	return o
}

// run calls Watch until ctx ends.
func (o *observer) run(ctx context.Context, up leader.Upstream) {
	defer close(o.done)
	for {
		err := o.watchOnce(ctx, up)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			o.fail(errors.New("returned nil although its context had not ended"))
			return
		}
		o.note(func() { o.last = err })
		select {
		case <-time.After(rewatch):
		case <-ctx.Done():
			return
		}
	}
}

func (o *observer) watchOnce(ctx context.Context, up leader.Upstream) error {
	var over atomic.Bool
	floor := o.past.present()
	o.note(func() { o.at = max(o.at, floor) })
	defer over.Store(true)
	return up.Watch(ctx, o.key, func(u leader.Update) {
		if over.Load() {
			o.fail(errors.New("called sink after it had returned"))
			return
		}
		if !o.busy.CompareAndSwap(false, true) {
			o.fail(errors.New("called sink from two goroutines at once"))
			return
		}
		defer o.busy.Store(false)
		o.report(u)
	})
}

// report checks u against what came before.
func (o *observer) report(u leader.Update) {
	sum := maphash.Bytes(seed, u.Data)
	o.note(func() {
		at, err := o.past.find(stateOf(u), o.at)
		if err != nil {
			o.failures = append(o.failures, err)
			return
		}
		o.at = at
		o.reports = append(o.reports, report{u, sum})
		if u.Version == "" || u.Deleted {
			return
		}
		if was, ok := o.versions[u.Version]; ok && was != sum {
			o.failures = append(o.failures, fmt.Errorf("reported two values with version %q", u.Version))
		}
		o.versions[u.Version] = sum
	})
}

func (o *observer) fail(err error) {
	o.note(func() { o.failures = append(o.failures, err) })
}

// note runs do with the mutex held and wakes those who wait.
func (o *observer) note(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
	close(o.changed)
	o.changed = make(chan struct{})
}

// await waits, no longer than limit, until what was reported last is what was
// written last.
func (o *observer) await(limit time.Duration) error {
	timeout := time.After(limit)
	for {
		newest, have := o.past.newest(), "nothing"
		o.mu.Lock()
		changed, failed, last := o.changed, len(o.failures) > 0, o.last
		if n := len(o.reports); n > 0 {
			s := stateOf(o.reports[n-1].Update)
			if s.equal(newest) {
				o.mu.Unlock()
				return nil
			}
			have = s.String()
		}
		o.mu.Unlock()
		if failed {
			return o.err()
		}
		select {
		case <-changed:
		case <-timeout:
			err := fmt.Errorf("Watch(%q) reported %v after %v, want %v", o.key, have, limit, newest)
			if last != nil {
				err = fmt.Errorf("%w; it returned last: %w", err, last)
			}
			return err
		}
	}
}

// newest waits until the newest value is reported.
func (o *observer) newest() error { return o.await(patience) }

// end ends the Watch, which must be prompt, and returns what went wrong.
func (o *observer) end() error {
	o.cancel()
	select {
	case <-o.done:
		return o.err()
	case <-time.After(promptly):
		return fmt.Errorf("Watch(%q) did not return within %v of its context's end", o.key, promptly)
	}
}

func (o *observer) err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.reports {
		if maphash.Bytes(seed, r.Data) != r.hash {
			return fmt.Errorf("Watch(%q) changed data after reporting it", o.key)
		}
	}
	if len(o.failures) == 0 {
		return nil
	}
	return fmt.Errorf("Watch(%q) %w", o.key, o.failures[0])
}
