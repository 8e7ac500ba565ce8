package soak

import "cmp"

// A reign is one leadership of one term.
type reign struct {
	pid  int
	name string
	term uint64
	span span
}

// reigns returns the leaderships. One ends with the next thing that its client
// says of its role, and with its process.
func (c *checker) reigns() []reign {
	var all []reign
	open := map[member]int{} // index into all, plus one
	for i := range c.all {
		r := &c.all[i]
		if r.Kind != Role {
			continue
		}
		who := member{r.PID, r.Name}
		if n := open[who]; n > 0 {
			all[n-1].span.to = min(all[n-1].span.to, r.At)
			delete(open, who)
		}
		if r.Role == leaderRole {
			all = append(all, reign{r.PID, r.Name, r.Term, span{r.At, c.endOf(r.PID)}})
			open[who] = len(all)
		}
	}
	return all
}

// endOf is when nothing comes from a process any more.
func (c *checker) endOf(pid int) int64 {
	l := c.lives.of(pid)
	if l.hard {
		return min(l.told, l.gone)
	}
	return l.gone
}

// leaders holds that no two processes lead one name in one term.
func (c *checker) leaders() {
	type term struct {
		name string
		n    uint64
	}
	before := map[term]reign{}
	for _, r := range c.reigns() {
		t := term{r.name, r.term}
		first, ok := before[t]
		switch {
		case !ok:
			before[t] = r
		case first.pid == r.pid:
		case first.span.overlaps(r.span):
			c.broken(r.span.from, "two leaders", "pid %d and pid %d both lead %q in term %d", first.pid, r.pid, r.name, r.term)
		case c.rules.TermsOnce:
			c.broken(r.span.from, "two leaders", "pid %d leads %q in term %d, in which pid %d led before", r.pid, r.name, r.term, first.pid)
		default:
			before[t] = r
		}
	}
}

// effects holds that nothing is done upstream in a term after anybody has seen
// a higher one.
func (c *checker) effects() {
	seen := c.sightings()
	for i := range c.all {
		r := &c.all[i]
		if r.Kind != Register && r.Kind != Deregister && r.Kind != Publish || r.Term == 0 {
			continue
		}
		for who, all := range seen {
			// Where terms are kept nowhere but in the processes that saw them, a
			// newcomer that leads knows no other's until others come to it.
			if who.name != r.Name || !c.rules.TermsOnce && who.pid != r.PID {
				continue
			}
			if term := highestBefore(all, r.Sent); term > r.Term {
				c.broken(r.At, "late effect", "pid %d: %s of %q in term %d, although pid %d had seen term %d", r.PID, r.Kind, r.Key, r.Term, who.pid, term)
			}
		}
	}
	c.answers()
}

// A member is one process's part in a cluster.
type member struct {
	pid  int
	name string
}

// A sighting is a term that a process saw, and when.
type sighting struct {
	at   int64
	term uint64
}

// sightings returns who saw which terms: of each the times at which it saw one
// that was higher than all before.
func (c *checker) sightings() map[member][]sighting {
	seen := map[member][]sighting{}
	for i := range c.all {
		r := &c.all[i]
		switch r.Kind {
		case Role, Yielded, Confirmed, Called:
			who := member{r.PID, r.Name}
			if all := seen[who]; len(all) == 0 || r.Term > all[len(all)-1].term {
				seen[who] = append(all, sighting{r.At, r.Term})
			}
		}
	}
	return seen
}

// highestBefore returns the highest term seen before a time, 0 if there is
// none.
func highestBefore(all []sighting, at int64) (term uint64) {
	for _, s := range all {
		if s.at < at {
			term = max(term, s.term)
		}
	}
	return term
}

// answers holds that a caller is never answered by a lower term than before.
func (c *checker) answers() {
	type caller struct {
		pid int
		tag string
	}
	last := map[caller]*Record{}
	for i := range c.all {
		r := &c.all[i]
		if r.Kind != Called || r.Err != "" || r.Term == 0 {
			continue
		}
		who := caller{r.PID, r.Tag}
		if l := last[who]; l != nil && cmp.Compare(l.Term, r.Term) > 0 {
			c.broken(r.At, "late effect", "pid %d: call %q was answered in term %d by pid %d, after %q in term %d by pid %d",
				r.PID, r.Call, r.Term, r.Handler, l.Call, l.Term, l.Handler)
		}
		last[who] = r
	}
}
