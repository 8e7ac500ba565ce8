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

// A shortage is that of a leader which does not serve a key since it serves too
// many.
type shortage struct {
	left  uint64 // what link.left was when the key was asked for again
	waits bool   // until another key leaves
}

// refuseLocked notes that the leader of l does not serve the key, and lets each
// subscription say so, unless there may be room by now.
func (k *key) refuseLocked(l *link, why error) {
	if errors.Is(why, errs.ErrLimit) && l.asksAgain(k) {
		return
	}
	k.rareLocked().refused = why
	for s := k.first; s != nil; s = s.next {
		s.unserved = false
	}
}

// servedLocked notes that the leader of l serves the key.
func (k *key) servedLocked(l *link) {
	if k.refusedLocked() == nil {
		return
	}
	k.rare.refused = nil
	l.mu.Lock()
	delete(l.short, k)
	l.mu.Unlock()
}

// asksAgain asks for k, which the leader has no room for, once more if other keys
// have left since it was asked for: before the leader said so, they may have
// made room. Else k waits for the next one to leave.
func (l *link) asksAgain(k *key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	again := l.short[k].left < l.left
	l.short[k] = shortage{left: l.left, waits: !again}
	if again {
		l.addDueLocked(k)
	}
	return again
}

// parted takes k, which nobody wants any more, off those that the leader has no
// room for. If it did not wait for that, there is room for another one, which
// is asked for after what is to be told of k: that may be for the second time.
func (l *link) parted(k *key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	waited := l.short[k].waits
	delete(l.short, k)
	if waited {
		return
	}
	l.left++
	for again, s := range l.short {
		if s.waits {
			l.short[again] = shortage{left: l.left}
			l.addDueLocked(again)
			return
		}
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
