package follower

import (
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// doubtBeats is for how many heartbeats on end the leader has to count
	// otherwise than its follower before something is wrong.
	doubtBeats = 3

	// patienceBeats is how many may come before the leader has taken what it
	// was told last: more than there can be before a connection is cut on
	// which nothing moves that way.
	patienceBeats = 60
)

// A doubt is whether the leader of a link and its follower disagree on what the
// follower holds.
type doubt struct {
	differs  int    // heartbeats on end
	behind   int    // likewise, with fewer wishes taken than were told
	wishes   uint64 // told at the last heartbeat
	resynced bool   // since they agreed
}

// compare looks whether this follower holds what its leader says that it was
// told. Heartbeats come in the order of all else that the leader says, so any
// difference shows a fault, once the leader has taken what it was told itself.
//
// What is held is looked at before what is due: see Subscription.Close.
func (l *link) compare(told *clusterclientv1.Checksum) {
	if told == nil {
		return
	}
	same := l.held.Is(told)
	l.mu.Lock()
	wishes, settled := l.wishes, len(l.due) == 0 && !l.restate
	l.mu.Unlock()
	d := &l.doubt
	idle := settled && wishes == d.wishes
	d.wishes = wishes
	switch {
	case !settled:
		d.behind = 0
	case wishes != told.GetWishes():
		if d.behind++; !idle {
			d.behind = 0
		}
	case same:
		*d = doubt{wishes: wishes}
	default:
		d.differs++
		d.behind = 0
	}
	if d.differs == doubtBeats || d.behind == patienceBeats {
		l.differ(told, wishes)
	}
}

// differ does something about a lasting difference: once, and if that does not
// help it says so.
func (l *link) differ(told *clusterclientv1.Checksum, wishes uint64) {
	log := l.f.cfg.Logger.With("leader", l, "keys", l.held.Keys(), "keys_told", told.GetKeys())
	if l.doubt.resynced {
		log.Error("values differ from what the leader has told, even after they were told again; this is a bug, please report it, and restart this process")
		return
	}
	log.Warn("values differ from what the leader has told, asking for all of them again")
	l.doubt.resynced, l.doubt.differs, l.doubt.behind = true, 0, 0
	l.resync(wishes - told.GetWishes())
}

// resync makes the leader forget what it was told of keys, and tells it anew.
// What the leader has not taken of that is lost.
func (l *link) resync(lost uint64) {
	f := l.f
	f.resyncs.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	l.mu.Lock()
	l.restate, l.wishes = true, l.wishes-lost
	l.mu.Unlock()
	for _, k := range f.keys {
		l.dueKey(k)
	}
	l.w.Wake()
}

// addRestate adds the frame that comes before all keys.
func (l *link) addRestate(b *wire.Batch) {
	l.mu.Lock()
	restate := l.restate
	l.restate = false
	l.mu.Unlock()
	if restate {
		b.Add(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Restate{Restate: &clusterclientv1.Restate{}}})
	}
}

// joinedLink counts the key on a new link, which has told nothing of it yet.
func (k *key) joinedLink(l *link) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refusedLocked() != nil { // by another leader
		k.rare.refused, k.rare.trouble = nil, nil
	}
	k.counted = 0
	k.replaceLocked(l, k.hash.Bare())
}

// leftLinkLocked counts the key no more, for good. The link must have been told
// before: else the sum would be a lie for a moment.
func (k *key) leftLinkLocked(l *link) { k.replaceLocked(l, 0) }

// countLocked counts what the key holds now, unless it was dropped meanwhile.
func (k *key) countLocked(l *link) {
	switch {
	case k.counted == 0:
	case k.value.stale:
		k.replaceLocked(l, k.hash.Bare())
	default:
		k.replaceLocked(l, k.hash.Print(k.value.revision, k.content))
	}
}

func (k *key) replaceLocked(l *link, now uint64) {
	l.held.Replace(k.counted, now)
	k.counted = now
}
