package backoff_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

// TestNext checks that pauses lie below a bound that grows by 1.6, and use the
// room that they have.
func TestNext(t *testing.T) {
	const lo, hi = 5 * time.Millisecond, 50 * time.Millisecond
	bounds := []time.Duration{5e6, 8e6, 12.8e6, 20.48e6, 32.768e6, 50e6, 50e6, 50e6}
	longest, shortest := make([]time.Duration, len(bounds)), slices.Clone(bounds)
	b := backoff.Backoff{Min: lo, Max: hi}
	for range 300 {
		b.Reset()
		for i, bound := range bounds {
			d := b.Next()
			require.True(t, d > 0 && d <= bound, "pause %d is %v, want more than 0 and at most %v", i, d, bound)
			longest[i], shortest[i] = max(longest[i], d), min(shortest[i], d)
		}
	}
	for i, bound := range bounds {
		require.Greater(t, longest[i], bound*9/10, "longest of 300 pauses %d", i)
		require.Less(t, shortest[i], bound/10, "shortest of 300 pauses %d", i)
	}
}

func TestWait(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := backoff.Backoff{Min: time.Hour, Max: time.Hour}
		began := time.Now()
		require.NoError(t, b.Wait(t.Context()))
		took := time.Since(began)
		require.True(t, took > 0 && took <= time.Hour, "Wait took %v, want at most 1 h", took)

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.EOF)
		began = time.Now()
		require.Equal(t, io.EOF, b.Wait(ctx))
		require.Zero(t, time.Since(began), "time that Wait took although its context had ended")
	})
}
