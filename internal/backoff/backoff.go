// Package backoff paces attempts that may fail for a while.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// growth is by how much the longest pause grows with each attempt.
const growth = 1.6

// A Backoff gives the pauses between attempts: uniformly random up to a bound
// that grows from Min to Max ("full jitter"), so that processes which failed
// together do not try again together. It is used by one goroutine.
type Backoff struct {
	Min, Max time.Duration
	bound    time.Duration
}

// Reset makes the next pause short again; call it when an attempt has worked.
func (b *Backoff) Reset() { b.bound = 0 }

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	if b.bound == 0 {
		b.bound = b.Min
	} else {
		b.bound = min(time.Duration(float64(b.bound)*growth), b.Max)
	}
	return rand.N(b.bound) + 1
}

// Wait pauses, or returns ctx's cause when that ends first.
func (b *Backoff) Wait(ctx context.Context) error {
	t := time.NewTimer(b.Next())
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
