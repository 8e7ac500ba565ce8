package leader

import (
	"context"
	"fmt"
	"sync"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A warmKey is one key that is watched before its process leads.
type warmKey struct {
	w    *Warm
	name string

	mu       sync.Mutex // guards what follows
	run      *warmRun   // the newest watch
	in       *clusterclientv1.Inheritance
	far      bool // as far as the leader before, or farther
	over     bool
	position int // in the updates of run, of what the leader before said last
}

// begin watches the key, anew if it was watched, when there is room.
func (k *warmKey) begin(ctx context.Context, grouped bool) {
	r := &warmRun{k: k, grouped: grouped, first: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{})}
	k.mu.Lock()
	k.run, r.halted = r, k.over
	k.mu.Unlock()
	select {
	case k.w.room <- struct{}{}:
		r.roomed = true
		r.begin()
	case <-ctx.Done():
		r.End(context.Cause(ctx))
	}
}

func (k *warmKey) newest() *warmRun {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.run
}

// end ends the watch.
func (k *warmKey) end() {
	k.mu.Lock()
	k.over = true
	r := k.run
	k.mu.Unlock()
	if r != nil {
		r.halt()
	}
}

// await returns when the upstream has reported the key, or why it has not.
func (k *warmKey) await(ctx context.Context) error {
	r := k.newest()
	select {
	case <-r.first:
		return r.trouble()
	case <-ctx.Done():
		return fmt.Errorf("the upstream has not reported key %q: %w", k.name, context.Cause(ctx))
	}
}

// reached reports whether the watch has come as far as the leader before.
func (k *warmKey) reached(in *clusterclientv1.Inheritance) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	position, ok := k.run.find(in)
	if ok {
		k.in, k.far, k.position = in, true, position
	}
	return ok
}

// settled waits for the first word of a watch that began after the leader
// before had ended its own.
func (k *warmKey) settled(ctx context.Context, in *clusterclientv1.Inheritance) {
	err := k.await(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.in, k.far, k.position = in, err == nil, 0
}

// catchUp makes the key come as far as the leader before.
func (k *warmKey) catchUp(ctx context.Context, in *clusterclientv1.Inheritance) {
	before := k.newest()
	if before.grouped && k.lags(ctx, in) {
		return
	}
	before.halt()
	select {
	case <-before.done:
	case <-ctx.Done():
		return
	}
	k.begin(ctx, true)
	k.settled(ctx, in)
}

// lags reports whether the watch came as far while it was waited for.
func (k *warmKey) lags(ctx context.Context, in *clusterclientv1.Inheritance) bool {
	ctx, cancel := context.WithTimeout(ctx, warmGroupWait)
	defer cancel()
	for {
		changed := k.newest().change()
		if k.reached(in) {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (k *warmKey) isSettled() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.far && k.run.trouble() == nil
}
