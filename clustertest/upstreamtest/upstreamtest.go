// Package upstreamtest is the conformance suite for adapters: it checks that
// an implementation of [leader.Upstream] keeps the contract that the leader
// builds on. An adapter's tests call [Run] with a [Harness] that reaches the
// same upstream by a side door:
//
//	func TestConformance(t *testing.T) {
//		upstreamtest.Run(t, func(t *testing.T) upstreamtest.Harness {
//			return newHarness(t) // releases what it holds with t.Cleanup
//		})
//	}
//
// What an adapter or its harness cannot do is skipped, and the test's output
// says so. A harness that can do more implements [Restarter], [Compactor],
// [Directory] or [Expirer].
//
// The suite watches as the leader does: one Watch at a time for a key, called
// again when it returns; or, of a [leader.Starter], by StartWatch. In every check
// it also verifies that what is reported is a subsequence of what was written,
// beginning no earlier than what was there when Watch was called; that sink is
// never called from two goroutines at once nor after Watch returned; that Watch
// does not return before its context ends, unless the check has stopped or
// compacted the upstream; and that a version stands for one value.
package upstreamtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// A Harness gives the suite an adapter and a side door to the upstream behind
// it. Each check has one of its own; its keys may be left behind. Its methods
// are called from several goroutines at once.
type Harness interface {
	// Open returns a new instance of the adapter. The suite closes it. More
	// than one may be open at a time.
	Open(ctx context.Context) (leader.Upstream, error)

	// Set writes a value and returns when a Watch called afterwards would
	// report it. Keys consist of lower-case letters, digits, '.' and '-'.
	Set(ctx context.Context, key string, data []byte) error

	// Delete removes a key.
	Delete(ctx context.Context, key string) error

	// Get reads what is at the upstream now.
	Get(ctx context.Context, key string) (data []byte, exists bool, err error)
}

// A Restarter is a [Harness] whose upstream can go away and come back with its
// data. Adapters that are open stay open meanwhile.
type Restarter interface {
	Stop(ctx context.Context) error
	Start(ctx context.Context) error
}

// A Compactor is a [Harness] whose upstream keeps a history of changes and can
// be made to forget all of it but the present values.
type Compactor interface {
	Compact(ctx context.Context) error
}

// A Directory is a [Harness] whose upstream keeps registrations elsewhere than
// values. Without it a registration is looked up with Get by its key.
type Directory interface {
	// Announced returns what the upstream tells others about r.
	Announced(ctx context.Context, r leader.Registration) (data []byte, exists bool, err error)
}

// An Expirer is a [Harness] whose upstream drops registrations that nobody
// keeps alive any more.
type Expirer interface {
	// Expiry is how long that takes at most. Keep it to a few seconds: the
	// suite waits for it.
	Expiry() time.Duration
}

const (
	// patience bounds one step of a check: anything that an adapter may take
	// its time for, such as coming back after an outage.
	patience = 30 * time.Second

	// promptly bounds what must not wait for anything outside the process.
	promptly = 5 * time.Second

	// quiet is how long the suite listens for what must not happen.
	quiet = 100 * time.Millisecond
)

// Run runs the whole suite, each check as a subtest with a harness of its own.
// It must not run in parallel with other tests, since it counts goroutines.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			err := c.run(t.Context(), newHarness(t))
			if missing, ok := errors.AsType[skip](err); ok {
				t.Skip(missing.Error())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}
