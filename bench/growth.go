package main

import (
	"fmt"
	"time"
)

const (
	loadHot      = "one key, 10 subscribers"
	loadHotCalls = "calls, 1 in flight"
	hotRate      = 1000 // updates a second

	fewSessions, manySessions = 16, 256
	fewKeys                   = 10
)

// growthScenario updates one key, and makes calls, in small and large
// clusters. What neither concerns must cost nothing. The cost of being there,
// heartbeats above all, is measured once, and taken off.
func growthScenario(l *lab) error {
	var variants []variant
	for _, c := range []struct{ keys, sessions int }{
		{fewKeys, fewSessions}, {l.size.manyKeys, fewSessions}, {fewKeys, manySessions},
	} {
		s, err := l.startGrown(c.keys, c.sessions)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		variants = append(variants,
			variant{loadHot, s.name, func(d time.Duration) ([]measurement, error) { return s.updates(l, d) }},
			variant{loadHotCalls, s.name, func(d time.Duration) ([]measurement, error) { return s.calls(l, d) }},
		)
	}
	return l.interleave(variants)
}

// A grown cluster is a leader, and all followers in one process. The first of
// them subscribes to all keys.
type grown struct {
	name          string
	leader, crowd *process
	idle          *spending // of the leader when nothing happens; nil until known
}

// spending is what a process uses in some time.
type spending struct {
	footprint
	took time.Duration
}

func grownName(keys, sessions int) string {
	return fmt.Sprintf("%s keys, %d sessions", thousands(keys), sessions)
}

func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

func (l *lab) startGrown(keys, sessions int) (s *grown, err error) {
	s = &grown{name: grownName(keys, sessions)}
	at := target{Peer: ours}
	if s.leader, err = l.start("crowd-leader", none{}, &at.Address); err != nil {
		return s, err
	}
	if s.crowd, err = l.start("crowd", at, nil); err != nil {
		return s, err
	}
	if err = s.crowd.do(l.ctx, "join", crowdWork{Clients: hotReaders, Hot: hotReaders}, nil); err != nil {
		return s, err
	}
	if err = s.crowd.do(l.ctx, "join", crowdWork{Clients: 1, Keys: keys}, nil); err != nil {
		return s, err
	}
	return s, s.crowd.do(l.ctx, "join", crowdWork{Clients: sessions - hotReaders - 1}, nil)
}

func (s *grown) updates(l *lab, d time.Duration) ([]measurement, error) {
	if _, err := takeAll(l, []*process{s.crowd}); err != nil {
		return nil, err
	}
	var n int
	used, err := s.cost(l, func() error {
		return s.leader.do(l.ctx, "update", updateWork{Duration: d, Rate: hotRate}, &n)
	})
	if err != nil {
		return nil, err
	}
	taken, err := takeAll(l, []*process{s.crowd})
	if err != nil {
		return nil, err
	}
	return append(used.per(n, "update"), latencies(taken[0])[0]), nil
}

func (s *grown) calls(l *lab, d time.Duration) ([]measurement, error) {
	var r callResult
	used, err := s.cost(l, func() error { return s.crowd.do(l.ctx, "calls", d, &r) })
	if err != nil {
		return nil, err
	}
	return append(used.per(r.Latencies.total(), "call"), latencies(r.Latencies)[0]), nil
}

// idleFor is how long a leader is watched that has nothing to do but to beat: a
// few heartbeats, since each session costs something once in each.
const idleFor = 3 * time.Second

// cost is what run costs the leader beyond what it uses in as long a time anyway.
func (s *grown) cost(l *lab, run func() error) (footprint, error) {
	if s.idle == nil {
		idle, err := s.spent(l, func() error { time.Sleep(idleFor); return nil })
		if err != nil {
			return footprint{}, err
		}
		s.idle = &idle
	}
	used, err := s.spent(l, run)
	if err != nil {
		return footprint{}, err
	}
	share := float64(used.took) / float64(s.idle.took)
	return footprint{
		Processor: max(0, used.Processor-time.Duration(float64(s.idle.Processor)*share)),
		Allocs:    used.Allocs - min(used.Allocs, uint64(float64(s.idle.Allocs)*share)),
	}, nil
}

// spent is what the leader uses while run runs.
func (s *grown) spent(l *lab, run func() error) (spending, error) {
	before, err := s.leader.footprint(l)
	if err != nil {
		return spending{}, err
	}
	start := time.Now()
	if err := run(); err != nil {
		return spending{}, err
	}
	took := time.Since(start)
	after, err := s.leader.footprint(l)
	return spending{footprint{Processor: after.Processor - before.Processor, Allocs: after.Allocs - before.Allocs}, took}, err
}

func (f footprint) per(n int, what string) []measurement {
	return []measurement{
		{"leader's processor time per " + what, "µs", micros(f.Processor) / float64(max(n, 1))},
		{"leader's allocations per " + what, "", float64(f.Allocs) / float64(max(n, 1))},
	}
}
