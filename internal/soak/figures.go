package soak

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The faults that take a leader away.
var failoverKinds = []string{Kill, Terminate, Resign, Stop}

// A Failover is what one fault of a leader cost those who were left.
type Failover struct {
	Op          string        // the fault
	Followers   int           // that were left, the next leader among them
	Led         time.Duration // until another process leads
	Subscribers time.Duration // until the last of them held a value of the new term, confirmed
	Callers     time.Duration // until the last of them was answered by the new leader; 0 if nobody called
	Failed      int           // calls of theirs that failed meanwhile
}

// Failovers returns what the faults of leaders cost, by kind of fault. A fault
// during which another one lasted or happened tells nothing of either and is
// left out, as is one that nobody recovered from.
func Failovers(all []Record) map[string][]Failover {
	c := &checker{all: all, lives: newLives(all)}
	reigns, lasting := c.reigns(), c.lasting()
	calls := slices.ContainsFunc(all, func(r Record) bool { return r.Kind == Called })
	found := map[string][]Failover{}
	for i := range all {
		r := &all[i]
		if r.Kind != Fault || !slices.Contains(failoverKinds, r.Op) || outlived(span{r.At - 1, r.At}, lasting) > 0 {
			continue
		}
		for _, g := range reigns {
			if g.pid == r.PID && g.span.from < r.At && g.span.to >= r.At {
				if f, ok := c.failover(i, g, calls); ok {
					found[r.Op] = append(found[r.Op], f)
				}
			}
		}
	}
	return found
}

// lasting returns when something was wrong with the upstream, or a process was
// stopped or kept busy.
func (c *checker) lasting() []span {
	spans := append(slices.Clone(c.lives.trouble), c.lives.stops...)
	for i := range c.all {
		if r := &c.all[i]; r.Kind == Fault && r.Op == Burn {
			spans = append(spans, span{r.At, r.At + int64(r.For)})
		}
	}
	return spans
}

// failover follows what happened after the fault all[i] of a leader.
func (c *checker) failover(i int, g reign, calls bool) (Failover, bool) {
	fault := &c.all[i]
	window := span{fault.At, c.nextFault(i)}
	left := map[int]*recovery{}
	for pid, l := range c.lives.byPID {
		if pid != g.pid && l.born < fault.At && l.told > fault.At && l.gone > fault.At {
			left[pid] = &recovery{}
		}
	}
	f := Failover{Op: fault.Op, Followers: len(left)}
	for j := range c.all {
		r := &c.all[j]
		who := left[r.PID]
		if who == nil || r.At <= window.from || r.At >= window.to {
			continue
		}
		switch {
		case r.Kind == Role && r.Name == g.name && r.Role == leaderRole:
			f.Led = cmp.Or(f.Led, time.Duration(r.At-fault.At))
		case r.Kind == Confirmed && r.Name == g.name && r.Term > g.term:
			who.confirmed = cmp.Or(who.confirmed, r.At)
		case r.Kind == Called && r.Name == g.name && r.Err != "":
			f.Failed++
		case r.Kind == Called && r.Name == g.name && r.Handler != g.pid:
			who.answered = cmp.Or(who.answered, r.At)
		}
	}
	var confirmed, answered int64
	for _, who := range left {
		if who.confirmed == 0 || calls && who.answered == 0 {
			return f, false
		}
		confirmed, answered = max(confirmed, who.confirmed), max(answered, who.answered)
	}
	f.Subscribers = time.Duration(confirmed - fault.At)
	if calls {
		f.Callers = time.Duration(answered - fault.At)
	}
	return f, len(left) > 0
}

// recovery is when one process was served again.
type recovery struct{ confirmed, answered int64 }

// nextFault returns when the next thing was done to the cluster after all[i].
func (c *checker) nextFault(i int) int64 {
	next := forever
	for j := range c.all {
		if r := &c.all[j]; j != i && r.Kind == Fault && r.At >= c.all[i].At {
			next = min(next, r.At)
		}
	}
	return next
}

// Tally returns how often each fault happened, in words.
func Tally(all []Record) string {
	times := map[string]int{}
	for i := range all {
		if r := &all[i]; r.Kind == Fault {
			times[r.Op]++
		}
	}
	var words []string
	for _, op := range []string{Kill, Terminate, Resign, Stop, Burn, Outage, Older, Hang} {
		if times[op] > 0 {
			words = append(words, fmt.Sprintf("%s %d", op, times[op]))
		}
	}
	return strings.Join(words, ", ")
}

// Summary returns the figures of failovers as a table in Markdown.
func Summary(failovers map[string][]Failover) string {
	var b strings.Builder
	b.WriteString("| fault of the leader | times | followers | another leads: p50 | p99 | max | subscribers: p50 | p99 | max | callers: p50 | p99 | max | calls failed |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, op := range failoverKinds {
		of := failovers[op]
		if len(of) == 0 {
			continue
		}
		least, most, failed := of[0].Followers, 0, 0
		for _, f := range of {
			least, most, failed = min(least, f.Followers), max(most, f.Followers), failed+f.Failed
		}
		followers := fmt.Sprint(most)
		if least != most {
			followers = fmt.Sprintf("%d–%d", least, most)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %d |\n", op, len(of), followers,
			quantiles(of, func(f Failover) time.Duration { return f.Led }),
			quantiles(of, func(f Failover) time.Duration { return f.Subscribers }),
			quantiles(of, func(f Failover) time.Duration { return f.Callers }), failed)
	}
	return b.String()
}

func quantiles(of []Failover, what func(Failover) time.Duration) string {
	all := make([]time.Duration, 0, len(of))
	for _, f := range of {
		all = append(all, what(f))
	}
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[int(q*float64(len(all)-1)+0.5)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%v | %v | %v", at(0.5), at(0.99), at(1))
}
