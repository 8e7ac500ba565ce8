package histogram

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSum(t *testing.T) {
	var a, b Histogram
	a.Observe(0)
	a.Observe(time.Millisecond) // on the bound
	b.Observe(2 * time.Second)
	b.Observe(time.Hour) // beyond the last one
	s := Sum(&a, &b)
	require.EqualValues(t, 4, s.Count)
	require.InDelta(t, 3602.001, s.Sum, 1e-9)
	got := make(map[float64]uint64)
	for _, bucket := range s.Buckets {
		got[bucket.LE] = bucket.Count
	}
	require.Equal(t, map[float64]uint64{0.0001: 1, 0.001: 2, 0.01: 2, 0.1: 2, 1: 2, 3: 3, 10: 3, 30: 3}, got)
}

func TestSumOfNothing(t *testing.T) {
	s := Sum()
	require.Zero(t, s.Count)
	require.Len(t, s.Buckets, len(bounds))
}
