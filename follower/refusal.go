package follower

import (
	"errors"

	"github.com/clusterclient/clusterclient/internal/errs"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// refusalFrom returns why a leader does not serve the key, nil if it does.
func (k *key) refusalFrom(s *clusterclientv1.State) error {
	code := errs.Limit
	switch s.GetRefusal() {
	case clusterclientv1.Refusal_REFUSAL_UNSPECIFIED:
		return nil
	case clusterclientv1.Refusal_REFUSAL_TOO_LARGE:
		code = errs.TooLarge
	}
	return k.f.fail(code, "subscribe", k.name, errors.New(s.GetFreshness().GetReason()))
}

// refusedLocked returns why the leader does not serve the key, nil if it does or
// has not answered yet.
func (k *key) refusedLocked() error {
	if k.rare == nil {
		return nil
	}
	return k.rare.refused
}

// refuseLocked notes that the leader of l does not serve the key, and lets each
// subscription say so.
func (k *key) refuseLocked(l *link, why error) {
	k.rareLocked().refused = why
	for s := k.first; s != nil; s = s.next {
		s.unserved = false
	}
	if errors.Is(why, errs.ErrLimit) {
		l.mu.Lock()
		l.refused[k] = true
		l.mu.Unlock()
	}
}

// servedLocked notes that the leader of l serves the key.
func (k *key) servedLocked(l *link) {
	if k.refusedLocked() == nil {
		return
	}
	k.rare.refused = nil
	l.mu.Lock()
	delete(l.refused, k)
	l.mu.Unlock()
}

// left takes k, which nobody wants any more, off those that were refused. If it
// was not one of them, there is room for another one, which is asked for after
// what is to be told of k: that may be for the second time.
func (l *link) left(k *key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refused[k] {
		delete(l.refused, k)
		return
	}
	for again := range l.refused {
		delete(l.refused, again)
		l.due = append(l.due, again)
		l.w.Wake() // what was due may have been told already
		return
	}
}

// sayUnservedLocked has Next fail, once for each refusal, if there is nothing else
// to return.
func (s *Subscription) sayUnservedLocked(g *glance) {
	why := s.key.refusedLocked()
	switch {
	case why == nil || s.unserved:
	case g.ok || g.err != nil:
		if s.set != nil {
			s.wakeLocked() // the next one is this
		}
	default:
		s.unserved, g.err = true, why
	}
}
