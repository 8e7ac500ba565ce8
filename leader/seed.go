package leader

import (
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// resortAfter is how long the upstream may take to report a key before the
// value of a snapshot is served: at most starts it has something newer to say
// by then, and nobody should begin with an old value for want of patience.
const resortAfter = 100 * time.Millisecond

// seed returns the last known value of the key that f is about, if the leader
// does not have it, and gets ready to tell whether that is what the follower
// knows.
func (l *Leader) seed(f *clusterclientv1.Subscribe) *Seed {
	if k := l.key(f.GetKey()); k != nil {
		k.digestFor(f.GetKnown())
		return nil
	}
	if l.cfg.Seed == nil {
		return nil
	}
	found, ok := l.cfg.Seed(f.GetKey())
	if !ok {
		return nil
	}
	seed := found // which is allocated only now
	if mayBe(f.GetKnown(), &seed.Update) {
		seed.digest = wire.Digest(seed.Update.Data)
	}
	return &seed
}

// plantLocked gives a new key its last known value. One from a snapshot gets
// a revision that is older than any that a leader gave, since a follower may
// remember something newer; it grows with the time of the snapshot.
func (k *key) plantLocked(seed *Seed) {
	k.has, k.update, k.content, k.digest, k.rev, k.since = true, seed.Update, 0, seed.digest, seed.Revision, seed.Since
	k.valueSerial++
	k.stateSerial++
	if seed.Snapshot {
		k.origin = clusterclientv1.Origin_ORIGIN_SNAPSHOT
		k.rev = wire.Revision{Seq: uint64(max(0, seed.Since.UnixNano()))}
		k.reason = fmt.Sprintf("from the snapshot of %s, not confirmed by the upstream yet", seed.Since.Format(time.DateTime))
		return
	}
	k.l.startAfter(seed.Revision.Seq)
}

// resortNow falls back on the snapshot, if the upstream still says nothing.
func (k *key) resortNow() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.resortLocked()
}

func (k *key) resortLocked() {
	seed := k.resort
	if seed == nil {
		return
	}
	k.resort = nil
	k.resorting.Stop()
	if k.over != nil {
		k.over.has, k.over.update, k.over.origin = true, seed.Update, clusterclientv1.Origin_ORIGIN_SNAPSHOT
		k.over.since = seed.Since
		return
	}
	k.plantLocked(seed)
	k.changedLocked()
}

// confirmLocked is called when the upstream reports. The first time settles
// who is right where a follower knew another value than the leader: it gets
// the value, even if that is what the leader had all the time.
func (k *key) confirmLocked() {
	if k.reported {
		return
	}
	for _, sb := range k.subs {
		if sb.unsure {
			sb.unsure, sb.sentValue = false, 0
		}
	}
}

// Absent tells the followers why there is no upstream. It is for a Leader that
// was made without one.
func (l *Leader) Absent(reason string) {
	l.mu.Lock()
	l.absence, l.absent = reason, true
	keys := make([]*key, 0, len(l.keys))
	for _, k := range l.keys {
		keys = append(keys, k)
	}
	l.mu.Unlock()
	for _, k := range keys {
		k.fail(reason)
	}
	for _, s := range l.allSessions() {
		s.dueBeat()
		s.dueLeaving(&clusterclientv1.Leaving{Reason: clean(reason)})
	}
}
