package leader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// learns tells p of n runs.
func learns(p *pace, n int, took time.Duration) {
	for range n {
		p.learn(took)
	}
}

func TestPace(t *testing.T) {
	var p pace
	learns(&p, paceRuns-1, time.Microsecond)
	require.False(t, p.quick.Load(), "quick before enough is known")
	p.learn(time.Microsecond)
	require.True(t, p.quick.Load(), "not quick after %d quick runs", paceRuns)

	p.learn(time.Second)
	require.True(t, p.quick.Load(), "one run that may have had no processor is held against it")
	for i := 0; p.quick.Load(); i++ {
		require.Less(t, i, paceWeight, "quick though it takes a second")
		p.learn(time.Second)
	}

	learns(&p, 2*paceRuns-1, time.Microsecond)
	require.False(t, p.quick.Load(), "quick again as soon as the first time")
	p.learn(time.Microsecond)
	require.True(t, p.quick.Load())
}

func TestPaceOfTheSlow(t *testing.T) {
	var p pace
	learns(&p, 1000, paceSlow)
	require.False(t, p.quick.Load(), "quick at %v", paceSlow)
}

func TestPaceAssumed(t *testing.T) {
	var p pace
	p.assume()
	require.True(t, p.quick.Load())
	learns(&p, 2*paceWeight, time.Second)
	require.False(t, p.quick.Load(), "quick since somebody said so, though it takes a second")
}

// TestPaceAtTheBound holds that a handler which is just quick does not become
// slow and quick again by turns where runs are interrupted now and then.
func TestPaceAtTheBound(t *testing.T) {
	var p pace
	for i := range 1000 {
		took := 10 * time.Microsecond
		if i%paceWeight == 0 {
			took = time.Second
		}
		p.learn(took)
		require.True(t, p.quick.Load() || i < 2*paceRuns, "not quick after %d runs", i)
	}
}
