package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	loadIdle = "idle followers"

	memoryFollowers = 8
	memoryIdle      = 64

	someKeys = 10_000 // beside very many
)

// memoryScenario measures what a leader holds for a follower that is merely
// there, and what all hold when every one of several followers subscribes to
// very many keys, how long it takes until the last has its first values, and
// what an update of one of them costs then.
func memoryScenario(l *lab) error {
	at := target{Peer: ours}
	leading, err := l.start("crowd-leader", none{}, &at.Address)
	if err != nil {
		return err
	}
	followers := make([]*process, memoryFollowers)
	for i := range followers {
		if followers[i], err = l.start("crowd", at, nil); err != nil {
			return err
		}
	}
	m := &memory{l, leading, followers}
	for range max(1, l.size.rounds/3) { // figures that hardly differ, and take long
		if err := m.idle(); err != nil {
			return err
		}
		for _, n := range slices.Compact([]int{someKeys, l.size.manyKeys}) {
			if err := m.keys(n); err != nil {
				return err
			}
		}
	}
	return nil
}

func loadManyKeys(n int) string {
	return fmt.Sprintf("%s keys, %d followers", thousands(n), memoryFollowers)
}

type memory struct {
	l         *lab
	leader    *process
	followers []*process
}

func (m *memory) idle() error {
	grown, err := m.grown(m.leader, func() error {
		return m.followers[0].do(m.l.ctx, "join", crowdWork{Clients: memoryIdle}, nil)
	})
	if err != nil {
		return err
	}
	m.l.record(loadIdle, ours, measurement{"leader's memory per follower", "KiB", grown / 1024 / memoryIdle})
	return m.leave()
}

// keys has the first follower subscribe to n keys before the others do, so
// that the leader's memory for a key is told from that for one more follower
// of it.
func (m *memory) keys(n int) error {
	l := m.l
	join := func(p *process) (ns int64, err error) {
		return ns, p.do(l.ctx, "join", crowdWork{Clients: 1, Keys: n, Hot: 1}, &ns)
	}
	var own float64
	first, err := m.grown(m.leader, func() (err error) {
		own, err = m.grown(m.followers[0], func() error { _, err := join(m.followers[0]); return err })
		return err
	})
	if err != nil {
		return err
	}
	others := m.followers[1:]
	more, err := m.grown(m.leader, func() error {
		_, err := all(others, func(_ int, p *process) (int64, error) { return join(p) })
		return err
	})
	if err != nil {
		return err
	}
	if err := m.leave(); err != nil {
		return err
	}
	together, err := m.together(n, join)
	if err != nil {
		return err
	}
	update, err := m.update()
	if err != nil {
		return err
	}
	l.record(loadManyKeys(n), ours, append(append(update, together...),
		measurement{"follower's memory per key", "bytes", own/float64(n) - coldBytes},
		measurement{"leader's memory per key", "bytes", first/float64(n) - coldBytes},
		measurement{"leader's memory per key and further follower", "bytes", more / float64(n*len(others))},
	)...)
	return m.leave()
}

// together has all followers subscribe to n keys at the same time.
func (m *memory) together(n int, join func(*process) (int64, error)) ([]measurement, error) {
	before, err := m.usages()
	if err != nil {
		return nil, err
	}
	took, err := all(m.followers, func(_ int, p *process) (int64, error) { return join(p) })
	if err != nil {
		return nil, err
	}
	after, err := m.usages()
	each := func(i int) float64 { return micros(after[i]-before[i]) / float64(n*len(m.followers)) }
	return []measurement{
		{"time to the last first value", "ms", float64(slices.Max(took)) / 1e6},
		{"leader's processor time per key and follower", "µs", each(0)},
		{"followers' processor time per key and follower", "µs", each(1)},
	}, err
}

// usages is the processor time of the leader, and that of the followers.
func (m *memory) usages() (used [2]time.Duration, err error) {
	if used[0], err = usage(m.l, []*process{m.leader}); err == nil {
		used[1], err = usage(m.l, m.followers)
	}
	return used, err
}

// update measures what an update costs that all followers get.
func (m *memory) update() ([]measurement, error) {
	var n int
	s := &grown{leader: m.leader}
	used, err := s.cost(m.l, func() error {
		return m.leader.do(m.l.ctx, "update", updateWork{Duration: m.l.size.slice, Rate: hotRate}, &n)
	})
	return used.per(n, "update"), err
}

func (m *memory) leave() error {
	_, err := all(m.followers, func(_ int, p *process) (none, error) { return none{}, p.do(m.l.ctx, "leave", none{}, nil) })
	if err != nil {
		return err
	}
	return m.leader.do(m.l.ctx, "alone", none{}, nil)
}

// grown is by how much p holds more after run, in bytes.
func (m *memory) grown(p *process, run func() error) (float64, error) {
	before, err := p.footprint(m.l)
	if err != nil {
		return 0, err
	}
	if err := run(); err != nil {
		return 0, err
	}
	after, err := p.footprint(m.l)
	return float64(after.Held) - float64(before.Held), err
}
