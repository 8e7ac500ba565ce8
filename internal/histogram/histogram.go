// Package histogram counts durations.
package histogram

import (
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// bounds are the upper ends of all buckets but the last, which has none.
var bounds = [...]time.Duration{
	100 * time.Microsecond, time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond,
	time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second,
}

// A Histogram counts durations. The zero Histogram is empty and ready for use;
// its methods are safe for concurrent use.
type Histogram struct {
	counts [len(bounds) + 1]atomic.Uint64
	sum    atomic.Int64
}

// Observe counts d.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// Sum returns what several histograms have counted together.
func Sum(all ...*Histogram) inspect.Histogram {
	s := inspect.Histogram{Buckets: make([]inspect.Bucket, len(bounds))}
	for i, b := range bounds {
		s.Buckets[i].LE = b.Seconds()
	}
	for _, h := range all {
		var below uint64
		for i := range h.counts {
			below += h.counts[i].Load()
			if i < len(bounds) {
				s.Buckets[i].Count += below
			}
		}
		s.Count += below
		s.Sum += time.Duration(h.sum.Load()).Seconds()
	}
	return s
}
