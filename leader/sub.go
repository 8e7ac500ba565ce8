package leader

import (
	"bytes"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A sub is one follower's interest in one key, and what the follower knows of
// it.
type sub struct {
	s   *session
	key *key

	inQueue bool // guarded by session.mu

	// Guarded by key.mu.
	left      bool
	sentValue uint64 // key.valueSerial that the follower holds
	sentState uint64 // key.stateSerial that it was told
	inFlight  bool   // a large value is on its way, in pieces
}

func (sb *sub) queued() *bool { return &sb.inQueue }

// appendTo adds the key's value, or only its state when the follower holds
// the value. While a large value is on its way nothing is added: what is said
// of a key must arrive in order.
func (sb *sub) appendTo(b *wire.Batch) {
	k := sb.key
	k.mu.Lock()
	if sb.left || sb.inFlight || sb.sentState == k.stateSerial {
		k.mu.Unlock()
		return
	}
	whole := sb.sentValue != k.valueSerial
	sb.sentValue, sb.sentState = k.valueSerial, k.stateSerial
	if !whole {
		state := k.stateLocked()
		k.mu.Unlock()
		b.Add(state)
		return
	}
	frame := k.frameLocked()
	sb.inFlight = true
	k.mu.Unlock()
	if !sb.s.w.SendEncoded(b, frame, sb.arrived) {
		k.mu.Lock()
		sb.inFlight = false
		k.mu.Unlock()
	}
}

// arrived is called when the last piece of a large value has left.
func (sb *sub) arrived() {
	k := sb.key
	k.mu.Lock()
	sb.inFlight = false
	again := !sb.left && sb.sentState != k.stateSerial
	k.mu.Unlock()
	if again {
		sb.s.addDue(sb)
	}
}

// holds reports whether the follower's value, named by known, is the one that
// the key has.
func (k *key) holdsLocked(known *clusterclientv1.Mark) bool {
	if known == nil || !k.has {
		return false
	}
	return sameMark(known, k.markLocked())
}

// sameMark reports whether two marks name equal values. Revisions do not
// matter: they belong to the leader, not to the value.
func sameMark(a, b *clusterclientv1.Mark) bool {
	if a.GetDeleted() && b.GetDeleted() {
		return true
	}
	return a.GetDeleted() == b.GetDeleted() &&
		bytes.Equal(a.GetVersion(), b.GetVersion()) &&
		bytes.Equal(a.GetDigest(), b.GetDigest())
}
