package follower

import "time"

// A glance is what Next finds at one moment, beside the value.
type glance struct {
	ok    bool // the value is to be returned
	err   error
	again time.Time       // when to look again, even if nobody wakes; zero for never
	bell  <-chan struct{} // rings when there may be something else to see
}

// poll sets v to the next value if there is one. Where another goroutine in Next
// would find something, too, it is woken.
func (s *Subscription) poll(v *Value, g *glance) {
	g.ok, g.err, g.again = false, nil, time.Time{}
	s.lockJudged()
	defer s.key.mu.Unlock()
	s.pollLocked(v, g)
	if s.bell == nil && s.set == nil && !g.ok && g.err == nil {
		s.bell = make(chan struct{}, 1)
	}
	g.bell = s.bell
	if !g.ok {
		*v = Value{}
	}
}

func (s *Subscription) pollLocked(v *Value, g *glance) {
	k := s.key
	switch {
	case s.closed || k.f.isClosed(): // what came before Close is not yielded after it
		if s.set == nil { // the others in Next
			s.wakeLocked()
		}
		g.err = k.f.closedErr("next", k.name)
		return
	case s.opts.hasGroup:
		s.acknowledgeLocked()
		if t := k.nextTaskLocked(s.opts.group); t != nil {
			s.rare.held = append(s.rare.held, t)
			s.wakeLocked()
			*v, g.ok = t.value, true
		}
	case s.gate() != nil && s.gate().awaited: // whoever judges the newest value wakes
	case k.serial != s.seen || s.opts.looksTwice():
		s.seen = k.serial
		s.glanceLocked(v, g)
	}
	s.sayUnservedLocked(g)
}

// glanceLocked decides whether the value as this subscription sees it is to be
// returned.
func (s *Subscription) glanceLocked(v *Value, g *glance) {
	has, again := s.viewLocked(v)
	g.again = again
	if !has || s.tooStaleLocked(v, g) {
		return
	}
	same := s.yielded && s.sameLocked(v)
	if same && !s.refused && (!s.opts.states || sameState(&s.rare.last, v)) {
		return
	}
	s.noteLocked(v)
	v.Repeated, g.ok = same, true
}

// sameLocked reports whether v is what was yielded last. A key's next value is
// not, which spares most of those who ask a look at the last one; but what a
// subscription sees may be another value than the key's.
func (s *Subscription) sameLocked(v *Value) bool {
	if s.serial+1 == s.key.serial && s.opts.validate == nil && s.opts.keep == 0 {
		return false
	}
	return sameValue(&Value{Data: s.data, Version: s.version, Deleted: s.deleted}, v)
}

// noteLocked notes that v is yielded, as far as somebody will ask.
func (s *Subscription) noteLocked(v *Value) {
	s.borrowLocked()
	s.yielded, s.refused, s.serial = true, false, s.key.serial
	s.data, s.version, s.deleted, s.revision = v.Data, v.Version, v.Deleted, v.Revision
	if s.opts.states {
		s.rare.last = *v
	}
}
