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
	at        int    // in key.subs
	sentValue uint64 // key.valueSerial that the follower holds
	sentState uint64 // key.stateSerial that it was told
	unsure    bool   // it knew another value, and who is right the upstream will tell
	inFlight  bool   // a large value is on its way, in pieces
	sending   uint64 // what the key will count in session.told when the value has arrived
	counted   uint64 // what it does now
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
	if whole {
		sb.countLocked()
	}
	sb.sentValue, sb.sentState, sb.sending = k.valueSerial, k.stateSerial, k.printLocked()
	if !whole {
		state := k.stateLocked()
		sb.toldLocked(sb.sending)
		k.mu.Unlock()
		b.Add(state)
		return
	}
	head, data := k.headLocked(), k.update.Data
	if sb.inFlight = wire.IsLarge(head, data); !sb.inFlight {
		sb.toldLocked(sb.sending)
	}
	k.mu.Unlock()
	sb.s.w.SendValue(b, head, data, sb.arrived)
}

// toldLocked notes what the follower was told of the key: in the order of the
// stream, in which the next heartbeat follows, with the checksum.
func (sb *sub) toldLocked(now uint64) {
	if !sb.left {
		sb.s.told.Replace(sb.counted, now)
		sb.counted = now
	}
}

// countLocked counts the value that is about to be sent, and those that the
// follower never gets because of it. The first value of a subscription says
// nothing of delays.
func (sb *sub) countLocked() {
	t := &sb.s.l.tallies[sb.s.shard]
	t.sent.Add(1)
	if sb.sentValue == 0 {
		return
	}
	t.delays.Observe(max(0, sb.s.pulled.Sub(sb.key.changed)))
	if n := sb.behindLocked() - 1; n > 0 {
		t.conflated.Add(n)
		sb.s.conflated.Add(n)
	}
}

// arrived is called when the last piece of a large value has left.
func (sb *sub) arrived() {
	k := sb.key
	k.mu.Lock()
	sb.inFlight = false
	sb.toldLocked(sb.sending)
	again := !sb.left && sb.sentState != k.stateSerial
	k.mu.Unlock()
	if again {
		sb.s.addDue(sb)
	}
}

// digestFor makes sure, before anybody's mutex is taken for long, that the digest
// of a value is there that may be the one called known.
func (k *key) digestFor(known *clusterclientv1.Mark) {
	k.mu.Lock()
	data, serial := k.update.Data, k.valueSerial
	needed := k.digest == nil && k.has && mayBe(known, &k.update)
	k.mu.Unlock()
	if !needed {
		return
	}
	digest := wire.Digest(data)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.valueSerial == serial {
		k.digest = digest
	}
}

// mayBe reports whether it takes a digest to tell that u is not what is known.
func mayBe(known *clusterclientv1.Mark, u *Update) bool {
	return known != nil && !known.GetDeleted() && !u.Deleted && string(known.GetVersion()) == u.Version
}

// holds reports whether the follower's value, named by known, is the one that
// the key has. One that has come just now is taken for another: that is found
// out when it arrives.
func (k *key) holdsLocked(known *clusterclientv1.Mark) bool {
	switch {
	case known == nil || !k.has:
		return false
	case known.GetDeleted() && k.update.Deleted:
		return true
	}
	return k.digest != nil && mayBe(known, &k.update) && bytes.Equal(known.GetDigest(), k.digest)
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
