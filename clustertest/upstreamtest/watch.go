package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

func checkFirstValue(e *env) error {
	const key = "upstreamtest.first"
	if err := e.set(key, number(1)); err != nil {
		return err
	}
	if err := e.set(key, number(2)); err != nil {
		return err
	}
	return e.watch(key).await(promptly)
}

func checkAbsent(e *env) error {
	const key = "upstreamtest.absent"
	o := e.watch(key)
	if err := o.await(promptly); err != nil {
		return err
	}
	if err := e.set(key, number(1)); err != nil {
		return err
	}
	return o.newest()
}

// checkChanges waits for each change before it makes the next.
func checkChanges(e *env) error {
	const key = "upstreamtest.changes"
	o := e.watch(key)
	for n := range 20 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return err
		}
	}
	return nil
}

// checkBurst makes changes faster than a slow upstream reports them: values
// may be skipped then, but neither the last nor the order may be lost.
func checkBurst(e *env) error {
	const key = "upstreamtest.burst"
	o := e.watch(key)
	if err := o.newest(); err != nil {
		return err
	}
	for n := range 200 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
	}
	return o.newest()
}

// checkDeletion brings the same value back, which is news after a deletion.
func checkDeletion(e *env) error {
	const key = "upstreamtest.deletion"
	if err := e.set(key, number(1)); err != nil {
		return err
	}
	o := e.watch(key)
	for range 3 {
		if err := o.newest(); err != nil {
			return err
		}
		if err := e.delete(key); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return fmt.Errorf("after a deletion: %w", err)
		}
		if err := e.set(key, number(1)); err != nil {
			return err
		}
	}
	return o.newest()
}

func checkEmptyValue(e *env) error {
	const key = "upstreamtest.empty"
	if err := e.set(key, nil); err != nil {
		return err
	}
	o := e.watch(key)
	for _, change := range []func() error{
		func() error { return nil },
		func() error { return e.set(key, number(1)) },
		func() error { return e.set(key, nil) },
		func() error { return e.delete(key) },
		func() error { return e.set(key, nil) },
	} {
		if err := change(); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return err
		}
	}
	return nil
}

func checkLargeValue(e *env) error {
	const key, size = "upstreamtest.large", 1 << 20
	if err := e.set(key, bytes.Repeat([]byte{'a'}, size)); err != nil {
		return err
	}
	o := e.watch(key)
	if err := o.newest(); err != nil {
		return err
	}
	if err := e.set(key, bytes.Repeat([]byte{'b'}, size)); err != nil {
		return err
	}
	return o.newest()
}

// checkManyKeys watches many keys at once, some of them prefixes of others;
// none may report another's value.
func checkManyKeys(e *env) error {
	const keys, rounds = 100, 3
	key := func(i int) string { return fmt.Sprintf("upstreamtest.many-%d", i) }
	var observers []*observer
	for i := range keys {
		observers = append(observers, e.watch(key(i)))
	}
	for _, o := range observers {
		if err := o.newest(); err != nil {
			return err
		}
	}
	for round := range rounds {
		for i := range keys {
			if err := e.set(key(i), number(keys*round+i)); err != nil {
				return err
			}
		}
	}
	for _, o := range observers {
		if err := o.newest(); err != nil {
			return err
		}
	}
	return nil
}

// checkWatchEnds ends a Watch and listens, while a second one proves that
// changes arrive, for what the first still says.
func checkWatchEnds(e *env) error {
	const key = "upstreamtest.ends"
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	first := make(chan struct{}, 1)
	calls := make(chan leader.Update, 1)
	over := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- watch(ctx, e.up, key, func(u leader.Update) {
			select {
			case <-over:
				offer(calls, u)
			default:
				offer(first, struct{}{})
			}
		})
	}()
	if err := endsPromptly(cancel, first, done); err != nil {
		return fmt.Errorf("Watch(%q) %w", key, err)
	}
	close(over)
	o := e.watch(key)
	if err := e.set(key, number(1)); err != nil {
		return err
	}
	if err := o.newest(); err != nil {
		return err
	}
	select {
	case u := <-calls:
		return fmt.Errorf("Watch(%q) reported %v after it had returned", key, stateOf(u))
	case <-time.After(quiet):
		return nil
	}
}

// endsPromptly ends a Watch after its first report and checks how it ends.
func endsPromptly(cancel context.CancelFunc, first chan struct{}, done chan error) error {
	select {
	case <-first:
	case err := <-done:
		return fmt.Errorf("returned %w before its context ended", err)
	case <-time.After(promptly):
		return fmt.Errorf("reported nothing within %v", promptly)
	}
	cancel()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("= %w, want its context's error", err)
		}
		return nil
	case <-time.After(promptly):
		return fmt.Errorf("did not return within %v of its context's end", promptly)
	}
}

func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// checkWatchAgain watches a key anew again and again: each Watch begins with
// what is there then, even while the last one's remains are swept up.
func checkWatchAgain(e *env) error {
	const key = "upstreamtest.again"
	for n := range 20 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
		o := e.watch(key)
		if err := o.newest(); err != nil {
			return fmt.Errorf("Watch number %d: %w", n+1, err)
		}
		if err := o.end(); err != nil {
			return err
		}
	}
	return nil
}

// checkCompaction takes the history away from under a Watch.
func checkCompaction(e *env) error {
	compactor, ok := e.h.(Compactor)
	if !ok {
		return skip("the harness is no Compactor")
	}
	const key, other = "upstreamtest.compaction", "upstreamtest.compaction-other"
	o := e.watch(key)
	for n := range 3 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return err
		}
		if err := e.set(other, number(n)); err != nil {
			return err
		}
		if err := e.compact(compactor); err != nil {
			return err
		}
	}
	if err := e.set(key, number(3)); err != nil {
		return err
	}
	return o.newest()
}

func (e *env) compact(c Compactor) error {
	ctx, cancel := e.step()
	defer cancel()
	e.disturbed.Store(true)
	if err := c.Compact(ctx); err != nil {
		return fmt.Errorf("harness: Compact: %w", err)
	}
	return nil
}
