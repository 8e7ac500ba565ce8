package soak

import (
	"fmt"
	"iter"
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
	patience := func() time.Duration { return restPatience + time.Duration(c.stalled.Load()) - time.Since(began) }
	c.stalled.Store(0)
	var counts processtest.CentreEvent
	for {
		calm := c.Wait(time.After(patience()), c.calmLocked)
		if !calm && patience() > 0 { // the driver itself did not run
			continue
		}
		counts, _ = c.centre.do(c.centre.program(), processtest.CentreCommand{Op: "count"})
		if !calm || c.countsFit(counts) && processtest.Read(c, c.calmLocked) {
			break
		}
		if patience() <= 0 {
			break
		}
		time.Sleep(restAgain)
	}
	c.Lock()
	for r := range c.unrestLocked() {
		c.history.Add(r)
	}
	c.Unlock()
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
	for range c.unrestLocked() {
		return false
	}
	return true
}

// unrestLocked yields the clients that have not come to rest, with their state.
func (c *cluster) unrestLocked() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for _, name := range c.names() {
			leader := c.leaderLocked(name)
			for _, p := range c.procs {
				if p.ended || !p.in(name) {
					continue
				}
				if why := c.restlessLocked(p, name, leader); why != "" && !yield(p.unrestLocked(name, why)) {
					return
				}
			}
		}
		live := c.liveLocked()
		if present := len(c.centre.present); present != live {
			yield(Record{Kind: Unrest, Err: fmt.Sprintf("%d registrations are at the centre, of %d processes", present, live)})
		}
	}
}

func (p *proc) unrestLocked(name, why string) Record {
	st := p.roles[name]
	return Record{Kind: Unrest, PID: p.PID, Name: name, Err: fmt.Sprintf(
		"%s; it is %q in term %d, its leader is pid %d, it has values of term %d, and waits for %q",
		why, st.Role, st.Term, st.LeaderPID, p.terms[name], st.Waiting)}
}

// restlessLocked returns what is left to happen to a client, if its name is led
// by leader; empty when nothing is.
func (c *cluster) restlessLocked(p *proc, name string, leader *proc) string {
	switch {
	case p.told:
		return "it was told to leave"
	case !p.ready:
		return "it has not begun all that it is to do"
	}
	if why := p.unsettledLocked(name, leader); why != "" {
		return why
	}
	for _, key := range c.keysOf(name) {
		want := c.centre.newestLocked(key)
		want.Data = brief(want.Data)
		got, ok := p.last[tagOf(name, key)]
		if !ok || !sameValue(&got, &Record{Data: want.Data, Version: want.Version, Deleted: want.Deleted}) {
			return fmt.Sprintf("its value of %s is %s, and the upstream has %q in version %s", key, short(&got), want.Data, want.Version)
		}
	}
	return ""
}

// unsettledLocked returns why a process neither leads a name nor follows
// leader, with values confirmed in its term; empty when it does.
func (p *proc) unsettledLocked(name string, leader *proc) string {
	st := p.roles[name]
	switch {
	case leader == nil:
		return "nobody leads"
	case p != leader && (st.Role != followerRole || st.LeaderPID != leader.PID):
		return fmt.Sprintf("it does not follow pid %d", leader.PID)
	case st.Term != leader.roles[name].Term, p.terms[name] != st.Term:
		return fmt.Sprintf("it has not come to term %d", leader.roles[name].Term)
	}
	return ""
}

// settledLocked reports whether one process leads a name and all others follow
// it, with values confirmed in its term.
func (c *cluster) settledLocked(name string) bool {
	leader := c.leaderLocked(name)
	for _, p := range c.procs {
		if !p.ended && p.in(name) && p.unsettledLocked(name, leader) != "" {
			return false
		}
	}
	return true
}

// leaderLocked returns who leads a name, nil if nobody does.
func (c *cluster) leaderLocked(name string) (leader *proc) {
	for _, p := range c.procs {
		if p.is(leaderRole, name) {
			leader = p
		}
	}
	return leader
}

// liveLocked returns how many processes have not ended.
func (c *cluster) liveLocked() (live int) {
	for _, p := range c.procs {
		if !p.ended {
			live++
		}
	}
	return live
}
