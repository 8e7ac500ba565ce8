package upstreamtest

import (
	"bytes"
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
	env    *env
	key    string
	past   *history
	cancel context.CancelFunc
	done   chan struct{}
	busy   atomic.Bool // sink is running

	mu       sync.Mutex
	at       int               // index in past of the newest report; guarded by mu
	reports  int               // how many there were; guarded by mu
	last     state             // the newest report; guarded by mu
	version  string            // of that; guarded by mu
	versions map[string]uint64 // version to hash of data; guarded by mu
	failures []error           // what is wrong for good; guarded by mu
	returned error             // what Watch returned last; guarded by mu
	changed  chan struct{}     // closed and replaced at each change; guarded by mu
}

// watch starts an observer of key. The check's end ends it.
func (e *env) watch(key string) *observer { return e.watchWith(e.up, key) }

func (e *env) watchWith(up leader.Upstream, key string) *observer {
	ctx, cancel := context.WithCancel(e.ctx)
	o := &observer{
		env:      e,
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
		if errors.Is(err, errSlow) {
			o.fail(err)
		}
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			o.fail(errors.New("returned nil although its context had not ended"))
			return
		}
		if !o.env.disturbed.Load() {
			o.fail(fmt.Errorf("returned although nothing was in its way: %w", err))
		}
		o.note(func() { o.returned = err })
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
	return watch(ctx, up, o.key, func(u leader.Update) {
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

// report checks u against what came before. The adapter may use u's memory
// for something else afterwards.
func (o *observer) report(u leader.Update) {
	sum := maphash.Bytes(seed, u.Data)
	o.note(func() {
		at, err := o.past.find(stateOf(u), o.at)
		if err != nil {
			o.failures = append(o.failures, err)
			return
		}
		o.at = at
		o.reports++
		o.last, o.version = state{data: bytes.Clone(u.Data), deleted: u.Deleted}, u.Version
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
		newest := o.past.newest()
		o.mu.Lock()
		reports, last, changed, failed, returned := o.reports, o.last, o.changed, len(o.failures) > 0, o.returned
		o.mu.Unlock()
		if reports > 0 && last.equal(newest) {
			return nil
		}
		if failed {
			return o.err()
		}
		select {
		case <-changed:
		case <-timeout:
			return o.late(reports, last, limit, newest, returned)
		}
	}
}

// late says what was reported instead of want.
func (o *observer) late(reports int, last state, limit time.Duration, want state, returned error) error {
	have := "nothing"
	if reports > 0 {
		have = last.String()
	}
	err := fmt.Errorf("Watch(%q) reported %s after %v, want %v", o.key, have, limit, want)
	if returned != nil {
		err = fmt.Errorf("%w; it returned last: %w", err, returned)
	}
	return err
}

// latest returns the newest report.
func (o *observer) latest() (s state, version string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.version
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
	if len(o.failures) == 0 {
		return nil
	}
	return fmt.Errorf("Watch(%q) %w", o.key, o.failures[0])
}
