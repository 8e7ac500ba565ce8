package soak

import (
	"fmt"
	"time"
)

// A presence is a registration as the upstream sees it. One that failed may be
// there beside the one that was made instead.
type presence struct {
	key   string
	pid   int             // of the process that asked for it
	acked int64           // forever if it never was
	held  map[string]bool // by Record.Reg
	spans []span
}

// presences returns the registrations, by the name of their keys, which says
// whose they are.
func (c *checker) presences() map[string]*presence {
	byKey := map[string]*presence{}
	get := func(key string) *presence {
		p := byKey[key]
		if p == nil {
			p = &presence{key: key, acked: forever, held: map[string]bool{}}
			_, _ = fmt.Sscanf(key, registrationKey, &p.pid)
			byKey[key] = p
		}
		return p
	}
	for i := range c.all {
		switch r := &c.all[i]; r.Kind {
		case Registered:
			p := get(r.Key)
			p.acked = min(p.acked, r.At)
		case Register:
			p := get(r.Key)
			if len(p.held) == 0 {
				p.spans = append(p.spans, span{r.At, forever})
			}
			p.held[r.Reg] = true
		case Deregister:
			p := get(r.Key)
			delete(p.held, r.Reg)
			if len(p.held) == 0 {
				endLast(p.spans, r.At)
			}
		}
	}
	return byKey
}

// registrationKey is the format of the key that a process registers.
const registrationKey = "r/%d"

// registrations holds that what a process announced is there while it lives,
// but for absences within the grace, and gone soon after it died.
func (c *checker) registrations() {
	for _, p := range c.presences() {
		c.present(p)
		c.withdrawn(p)
	}
}

// present looks for absences that are too long. Those of a process that was
// stopped, or that come from trouble of the centre, do not count.
func (c *checker) present(p *presence) {
	l := c.lives.of(p.pid)
	absentFrom := p.acked
	look := func(to int64) {
		gap := span{absentFrom, min(to, l.told, c.lives.end)}
		if gap.from >= gap.to {
			return
		}
		excused := outlived(gap, c.lives.trouble) + outlived(gap, extended(l.stopped, grace)) + outlived(gap, c.lives.late)
		if absent := time.Duration(gap.to - gap.from); absent > grace+excused {
			c.broken(gap.from, "registration absent", "%q of pid %d was absent for %v, excused %v", p.key, p.pid, absent, excused)
		}
	}
	for _, s := range p.spans {
		if s.to <= p.acked {
			continue
		}
		look(s.from)
		absentFrom = max(absentFrom, s.to)
	}
	look(forever)
}

// withdrawn looks for a registration that outlived its process for too long.
// Who takes over begins to wait anew, and nobody can withdraw while there is
// no leader, or no centre.
func (c *checker) withdrawn(p *presence) {
	l := c.lives.of(p.pid)
	if l.told == forever || len(p.spans) == 0 {
		return
	}
	last := p.spans[len(p.spans)-1]
	until := min(last.to, c.lives.end)
	if until <= l.told {
		return
	}
	from := max(l.told, last.from)
	if !l.hard && l.gone != forever { // it withdraws its own when it closes
		from = max(from, l.gone)
	}
	for _, t := range c.lives.takeover {
		if t > from && t < until {
			from = t
		}
	}
	if until < from {
		return
	}
	over := span{l.told, until}
	// After trouble a leader tries again with pauses.
	excused := 3*outlived(over, c.lives.trouble) + outlived(over, c.lives.stops) + outlived(over, c.lives.late)
	if took := time.Duration(until - from); took > grace+slack+excused {
		c.broken(until, "registration left", "%q was there %v after pid %d had died, or somebody had taken over since; excused %v", p.key, took, p.pid, excused)
	}
}

func extended(spans []span, by time.Duration) []span {
	longer := make([]span, 0, len(spans))
	for _, s := range spans {
		if s.to != forever {
			s.to += int64(by)
		}
		longer = append(longer, s)
	}
	return longer
}
