package main

import (
	"encoding/json"
	"math"
	"sync/atomic"
	"time"
)

// growth is the width of a histogram's bucket, and so how exact it is.
const growth = 1.005

// A histogram counts durations in buckets that grow by half a percent. It is
// safe for concurrent use, and travels as JSON.
type histogram struct {
	counts [5600]atomic.Uint32 // the last one is beyond twenty minutes
}

func (h *histogram) record(d time.Duration) {
	i := int(math.Log(float64(max(d, 1))) / math.Log(growth))
	h.counts[min(i, len(h.counts)-1)].Add(1)
}

// merge adds what o has counted.
func (h *histogram) merge(o *histogram) {
	for i := range o.counts {
		if n := o.counts[i].Load(); n > 0 {
			h.counts[i].Add(n)
		}
	}
}

func (h *histogram) total() int {
	var n int
	for i := range h.counts {
		n += int(h.counts[i].Load())
	}
	return n
}

// percentile returns the duration that a share p, from 0 to 1, of those
// counted does not exceed; 0 when there are none.
func (h *histogram) percentile(p float64) time.Duration {
	rank := int(math.Ceil(p * float64(h.total())))
	for i := range h.counts {
		n := int(h.counts[i].Load())
		if rank -= n; n > 0 && rank <= 0 {
			return time.Duration(math.Pow(growth, float64(i)+0.5))
		}
	}
	return 0
}

// MarshalJSON writes the buckets that are not empty.
func (h *histogram) MarshalJSON() ([]byte, error) {
	m := make(map[int]uint32)
	for i := range h.counts {
		if n := h.counts[i].Load(); n > 0 {
			m[i] = n
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON adds what was written.
func (h *histogram) UnmarshalJSON(data []byte) error {
	var m map[int]uint32
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	for i, n := range m {
		if i >= 0 && i < len(h.counts) {
			h.counts[i].Add(n)
		}
	}
	return nil
}

// latencies are the figures of a histogram that are reported.
func latencies(h *histogram) []measurement {
	return []measurement{
		{"p50", "µs", micros(h.percentile(0.50))},
		{"p99", "µs", micros(h.percentile(0.99))},
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
