package soak

// What a [Count] record counts, in its Op.
const (
	Connections = "connections" // at the centre, Key is empty
	Watches     = "watches"     // at the centre, of Key
	Names       = "names"       // that somebody leads
	Files       = "files"       // at the end, of the cluster in its directory
	Processes   = "processes"   // at the end
	Descriptors = "descriptors" // of a process that closed everything, beyond those it began with
	Goroutines  = "goroutines"  // the same
)

// rests holds a cluster that has had time to rest to that, and to what it must
// have come to: newest values everywhere, one connection for each name, one watch for each key.
func (c *checker) rests() {
	reported, streams, registrations := c.reported(), c.streams(), c.presences()
	counts := map[string]map[string]int{}
	for i := range c.all {
		switch r := &c.all[i]; r.Kind {
		case Count:
			if counts[r.Op] == nil {
				counts[r.Op] = map[string]int{}
			}
			counts[r.Op][r.Key] = r.Count
		case Unrest:
			c.broken(r.At, "not at rest", "pid %d, %q: %s", r.PID, r.Name, r.Err)
		case Rest:
			c.atNewest(r, streams, reported)
			c.counted(r, counts)
			c.noneLeft(r, registrations)
			clear(counts)
		}
	}
	// What was counted after the last rest is of the end.
	if n := counts[Processes][""]; n > 0 {
		c.broken(c.lives.end, "left over", "%d processes do not leave", n)
	}
	for file := range counts[Files] {
		c.broken(c.lives.end, "left over", "file %s", file)
	}
}

// atNewest holds that every subscription of a live process has come to the
// upstream's value.
func (c *checker) atNewest(rest *Record, streams []*stream, reported map[string][]*Record) {
	for _, s := range streams {
		if s.began > rest.At || c.lives.of(s.pid).told < rest.At {
			continue
		}
		want, got := newest(reported[s.key], rest.At), newest(s.values, rest.At)
		switch {
		case want == nil:
		case got == nil:
			c.broken(rest.At, "not newest", "pid %d, %s: nothing was yielded, the upstream has %s", s.pid, s.tag, short(want))
		case !sameValue(got, want):
			c.broken(rest.At, "not newest", "pid %d, %s: the last value is %s, the upstream has %s", s.pid, s.tag, short(got), short(want))
		}
	}
}

func (c *checker) counted(rest *Record, counts map[string]map[string]int) {
	if open, names := counts[Connections][""], counts[Names][""]; open != names {
		c.broken(rest.At, "connections", "%d connections at the upstream for %d names", open, names)
	}
	for key, n := range counts[Watches] {
		if n > 1 {
			c.broken(rest.At, "watches", "%d watches of %q", n, key)
		}
	}
}

// noneLeft holds that at rest the registrations of processes that have ended
// are withdrawn.
func (c *checker) noneLeft(rest *Record, registrations map[string]*presence) {
	for _, p := range registrations {
		for _, s := range p.spans {
			if s.from < rest.At && s.to > rest.At && c.lives.of(p.pid).told < rest.At {
				c.broken(rest.At, "registration left", "%q of pid %d, which has ended", p.key, p.pid)
			}
		}
	}
}

// leavings holds that a process which was told to leave does so, leaves
// nothing open, and that nothing failed without a reason.
func (c *checker) leavings() {
	for i := range c.all {
		switch r := &c.all[i]; r.Kind {
		case Left:
			if r.Count > 0 {
				c.broken(r.At, "left over", "pid %d closed everything and has %d %s more than when it began", r.PID, r.Count, r.Op)
			}
		case Gone:
			if l := c.lives.of(r.PID); !l.hard && r.Count != 0 {
				c.broken(r.At, "left over", "pid %d ended with exit code %d, and was not killed", r.PID, r.Count)
			}
		case Failed:
			c.broken(r.At, "failed", "pid %d: %s: %s", r.PID, r.Op, r.Err)
		}
	}
}
