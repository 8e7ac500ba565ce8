package soak

import (
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

const (
	// restPatience is how long a cluster that was healed may take to come to
	// rest. An upstream that was lost is tried again with pauses of up to 30 s.
	restPatience = 45 * time.Second

	// restAgain is the pause before the centre is asked again what it counts.
	restAgain = 20 * time.Millisecond
)

// rest waits until the cluster, all faults of which are healed, has come to
// rest, or has had the time to, and records what it is like then. It returns
// how long that took.
func (c *cluster) rest() time.Duration {
	began := time.Now()
	c.Change(func() { c.quiet = true })
	defer c.Change(func() { c.quiet = false })
	late := time.After(restPatience)
	var counts processtest.CentreEvent
	for {
		calm := c.Wait(late, c.calmLocked)
		counts, _ = c.centre.do(c.centre.program(), processtest.CentreCommand{Op: "count"})
		if !calm || c.countsFit(counts) && processtest.Read(c, c.calmLocked) {
			break
		}
		if time.Since(began) > restPatience {
			break
		}
		time.Sleep(restAgain)
	}
	c.history.Add(Record{Kind: Count, Op: Connections, Count: counts.Open})
	c.history.Add(Record{Kind: Count, Op: Names, Count: c.namesLed()})
	for key, n := range counts.Watches {
		c.history.Add(Record{Kind: Count, Op: Watches, Key: key, Count: n})
	}
	took := time.Since(began)
	c.history.Add(Record{Kind: Rest, For: took})
	return took
}

// countsFit reports whether the centre counts what it is to count at rest.
func (c *cluster) countsFit(counts processtest.CentreEvent) bool {
	for _, n := range counts.Watches {
		if n > 1 {
			return false
		}
	}
	return counts.Open == c.namesLed()
}

// namesLed returns how many names have somebody who can lead them.
func (c *cluster) namesLed() int {
	led := 0
	for _, name := range c.names() {
		if len(c.alive(func(p *proc) bool { return p.in(name) })) > 0 {
			led++
		}
	}
	return led
}

func (p *proc) in(name string) bool { return slices.Contains(p.names, name) }

// calmLocked reports whether nothing is left to happen.
func (c *cluster) calmLocked() bool {
	for _, p := range c.procs {
		switch {
		case p.told && !p.ended, !p.told && !p.ready && !p.ended:
			return false
		case p.ended:
			continue
		}
		if !c.newestLocked(p) {
			return false
		}
	}
	for _, name := range c.names() {
		if !c.settledLocked(name) {
			return false
		}
	}
	return c.announcedLocked()
}

// newestLocked reports whether every subscription of p has come to the
// upstream's value.
func (c *cluster) newestLocked(p *proc) bool {
	for _, name := range p.names {
		for _, key := range c.keysOf(name) {
			want := c.centre.newestLocked(key)
			got, ok := p.last[tagOf(name, key)]
			if !ok || !sameValue(&got, &Record{Data: brief(want.Data), Version: want.Version, Deleted: want.Deleted}) {
				return false
			}
		}
	}
	return true
}

// settledLocked reports whether one process leads a name and all others follow
// it, with values confirmed in its term.
func (c *cluster) settledLocked(name string) bool {
	var leader *proc
	members := 0
	for _, p := range c.procs {
		if p.is(leaderRole, name) {
			leader = p
		}
		if !p.ended && p.in(name) {
			members++
		}
	}
	if leader == nil {
		return members == 0
	}
	term := leader.roles[name].Term
	for _, p := range c.procs {
		if p.ended || !p.in(name) {
			continue
		}
		st := p.roles[name]
		if p != leader && (st.Role != followerRole || st.LeaderPID != leader.PID) || st.Term != term || p.terms[name] != term {
			return false
		}
	}
	return true
}

// announcedLocked reports whether the registrations are those of the processes
// that live.
func (c *cluster) announcedLocked() bool {
	live := 0
	for _, p := range c.procs {
		if !p.ended {
			live++
		}
	}
	return len(c.centre.present) == live
}
