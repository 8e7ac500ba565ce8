package leader

import (
	"maps"
	"slices"
	"sync/atomic"

	"google.golang.org/grpc/codes"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/histogram"
)

// tallyShards is over how many places the counters of hot paths are spread:
// sessions that count at the same time should not share a cache line.
const tallyShards = 8

// A tally counts what the leader does for some of its sessions.
type tally struct {
	delays    histogram.Histogram // from the upstream's report to a follower's transport
	sent      atomic.Uint64       // values
	conflated atomic.Uint64       // values that were left out for a newer one
	_         [64]byte
}

// A codeTally counts the ends of a method's calls.
type codeTally struct {
	codes [codes.Unauthenticated + 1]atomic.Uint64
	_     [64]byte
}

// count notes how a call has ended.
func (m *method) count(shard int, code codes.Code) {
	m.ends[shard].codes[min(code, codes.Unauthenticated)].Add(1)
}

// calls returns how many calls have ended with each code.
func (m *method) calls() map[string]uint64 {
	all := make(map[string]uint64)
	for i := range m.ends {
		for code := range m.ends[i].codes {
			if n := m.ends[i].codes[code].Load(); n > 0 {
				all[codes.Code(code).String()] += n
			}
		}
	}
	return all
}

// stats returns every unary method with what was counted.
func (r *Registry) stats() []inspect.Method {
	var all []inspect.Method
	for _, name := range slices.Sorted(maps.Keys(r.unary)) {
		all = append(all, inspect.Method{Method: name, Calls: r.unary[name].calls()})
	}
	return all
}

func (l *Leader) delays() inspect.Histogram {
	all := make([]*histogram.Histogram, tallyShards)
	for i := range l.tallies {
		all[i] = &l.tallies[i].delays
	}
	return histogram.Sum(all...)
}
