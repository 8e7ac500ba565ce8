package leader

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/clusterclient/clusterclient/internal/backoff"
)

// watch keeps one Watch of the upstream going until ctx ends.
func (k *key) watch(ctx context.Context) {
	retry := backoff.Backoff{Min: upstreamRetryFirst, Max: upstreamRetryLongest}
	for ctx.Err() == nil {
		seen := k.l.sight.seen()
		err := k.watchInTurn(ctx, retry.Reset)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("the upstream's watch ended")
		}
		k.failed()
		if k.fail(err.Error()) {
			k.l.trouble.note(k.name, err)
		}
		k.l.sight.failed(err.Error())
		pause(ctx, &retry, seen)
	}
}

// watchInTurn runs one Watch when the ramp lets it.
func (k *key) watchInTurn(ctx context.Context, reported func()) error {
	if k.warm != nil { // it is under way
		return k.watchUntil(ctx, reported)
	}
	k.mu.Lock()
	st := k.l.ramp.queue(len(k.subs))
	k.start = st
	k.mu.Unlock()
	defer st.settle()
	if err := st.wait(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	k.start = nil
	k.mu.Unlock()
	settled := false
	return k.watchUntil(ctx, func() { // never twice at once
		reported()
		if !settled {
			settled = true
			st.settle()
		}
	})
}

// weighLocked lets the ramp know how many want a watch that is to begin.
func (k *key) weighLocked() {
	if k.start != nil {
		k.start.weigh(len(k.subs))
	}
}

// watchUntil runs one Watch, until watchAnew at the latest.
func (k *key) watchUntil(ctx context.Context, reported func()) error {
	watching, end := context.WithCancelCause(ctx)
	defer end(nil)
	k.mu.Lock()
	k.endWatch = end
	k.mu.Unlock()
	err := k.watchOnce(watching, reported)
	if ctx.Err() == nil && watching.Err() != nil {
		return context.Cause(watching)
	}
	return err
}

// failed counts the end of a watch.
func (k *key) failed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failures++
}

// watchOnce runs one Watch. What its sink reports after it returned is
// ignored; a panic in it is an error.
func (k *key) watchOnce(ctx context.Context, reported func()) (err error) {
	var mu sync.Mutex
	over := false
	defer func() {
		mu.Lock()
		over = true
		mu.Unlock()
		if p := recover(); p != nil {
			k.l.log.Error("watch panicked", "key", k.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("the upstream's watch panicked: %v", p)
		}
	}()
	sink := func(u Update) {
		mu.Lock()
		defer mu.Unlock()
		if !over && ctx.Err() == nil && k.l.mayAct() == nil {
			reported()
			k.l.sight.reported() // first, so that followers hear of that first
			k.report(u)
			k.l.sight.reported() // it may have turned blind for want of this one
		}
	}
	if h := k.warm; h != nil { // only the goroutine that watches looks at it
		k.warm = nil
		return h.lead(ctx, sink)
	}
	return k.l.up.Watch(ctx, k.name, sink)
}

// retryUntil calls op, with pauses, until it succeeds or ctx ends.
func retryUntil(ctx context.Context, op func(context.Context) error) {
	retry := backoff.Backoff{Min: upstreamRetryFirst, Max: upstreamRetryLongest}
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, upstreamRetryLongest)
		err := op(attempt)
		cancel()
		if err == nil {
			return
		}
		_ = retry.Wait(ctx)
	}
}
