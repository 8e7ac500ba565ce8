package follower

import "sync"

// An inbox has those of a set's subscriptions that may have news, each once, in
// the order in which they came to have some.
type inbox struct {
	bell chan struct{} // one slot: there may be some

	mu          sync.Mutex // guards what follows, and behind and inInbox of subscriptions; taken after a key's
	first, last *Subscription
	readers     int  // who wait
	armed       bool // they wait for the next one to be added
}

// add adds s, unless it is there already.
func (b *inbox) add(s *Subscription) {
	b.mu.Lock()
	if !s.inInbox {
		s.inInbox = true
		if b.first == nil {
			b.first = s
		} else {
			b.last.behind = s
		}
		b.last = s
	}
	ring := b.armed
	b.armed = false
	b.mu.Unlock()
	if ring {
		b.ring()
	}
}

// take returns the first one, nil when there is none.
func (b *inbox) take() *Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.first
	if s == nil {
		return nil
	}
	b.first, s.behind, s.inInbox = s.behind, nil, false
	switch {
	case b.readers == 0:
	case b.first != nil:
		b.ring()
	default:
		b.armed = true
	}
	return s
}

// await notes that somebody is going to wait for the bell; false when there is
// something to take.
func (b *inbox) await() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first != nil {
		return false
	}
	b.readers++
	b.armed = true
	return true
}

// awaited ends that.
func (b *inbox) awaited() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers--
}

func (b *inbox) ring() {
	select {
	case b.bell <- struct{}{}:
	default:
	}
}
