package soak

// A stream is what one subscription yielded.
type stream struct {
	pid    int
	tag    string
	name   string
	key    string
	began  int64
	values []*Record
}

type streamID struct {
	pid int
	tag string
}

func (c *checker) streams() []*stream {
	byID := map[streamID]*stream{}
	var all []*stream
	for i := range c.all {
		switch r := &c.all[i]; r.Kind {
		case Subscribed:
			s := &stream{pid: r.PID, tag: r.Tag, name: r.Name, key: r.Key, began: r.At}
			byID[streamID{r.PID, r.Tag}] = s
			all = append(all, s)
		case Yielded:
			if s := byID[streamID{r.PID, r.Tag}]; s != nil {
				s.values = append(s.values, r)
			}
		}
	}
	return all
}

// reported returns the values that the upstream had, by key, in order.
func (c *checker) reported() map[string][]*Record {
	all := map[string][]*Record{}
	for i := range c.all {
		if r := &c.all[i]; r.Kind == Set {
			all[r.Key] = append(all[r.Key], r)
		}
	}
	return all
}

// sameValue reports whether a subscriber takes two values for one.
func sameValue(a, b *Record) bool {
	if a.Deleted || b.Deleted {
		return a.Deleted == b.Deleted
	}
	return a.Data == b.Data && a.Version == b.Version
}

// values holds what design calls the promise of a subscriber, but for the
// last value, which only a cluster at rest has to have.
func (c *checker) values() {
	reported := c.reported()
	for _, s := range c.streams() {
		c.growing(s)
		c.inOrder(s, reported[s.key])
	}
}

// growing holds that revisions grow and no value comes twice in a row.
func (c *checker) growing(s *stream) {
	for i := 1; i < len(s.values); i++ {
		v, before := s.values[i], s.values[i-1]
		if v.Term < before.Term || v.Term == before.Term && v.Seq <= before.Seq {
			c.broken(v.At, "revision", "pid %d, %s: revision %d.%d came after %d.%d", s.pid, s.tag, v.Term, v.Seq, before.Term, before.Seq)
		}
		if sameValue(v, before) {
			c.broken(v.At, "repeated", "pid %d, %s: %s came twice in a row", s.pid, s.tag, short(v))
		}
	}
}

// inOrder holds that the values are a subsequence of what the upstream had.
func (c *checker) inOrder(s *stream, reported []*Record) {
	next := 0
	for i, v := range s.values {
		if i > 0 && sameValue(v, s.values[i-1]) {
			continue // which is another fault
		}
		at := next
		for at < len(reported) && !sameValue(reported[at], v) {
			at++
		}
		if at == len(reported) {
			c.broken(v.At, "order", "pid %d, %s: %s is not among what the upstream had since the value yielded before it", s.pid, s.tag, short(v))
			continue // what comes later is judged by what came before this
		}
		next = at + 1
	}
}

// newest returns the newest of values at a time.
func newest(values []*Record, at int64) *Record {
	var last *Record
	for _, v := range values {
		if v.At > at {
			break
		}
		last = v
	}
	return last
}
