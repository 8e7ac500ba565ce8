package leader

import (
	"fmt"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/large"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A key is one key of the upstream: its newest value, who wants it, and the
// one watch.
//
//	          first join                      last leave
//	(none) ──────────────▶ watched ◀─────────────────────▶ lingering
//	                          ▲        join within linger      │
//	                          │                                │ linger over
//	                          └── join: a new key, whose  ◀── ended
//	                              watch waits for the old
//
// An ended key is out of Leader.keys before anything else happens to it, so
// nobody can join a watch that is going away.
type key struct {
	l      *Leader
	name   string
	number uint64 // see Leader.numbers
	hash   wire.NameHash

	mu          sync.Mutex        // guards what follows; see Leader.mu for the order
	subs        []*sub            // in no order
	groups      map[string]*group // nil until there was one
	linger      *time.Timer
	has         bool // a value is known
	rev         wire.Revision
	update      Update
	head        []byte   // the value as it travels, but for its data; nil until someone needs it
	digest      []byte   // of update.Data; nil until someone needs it
	content     uint64   // hash of update; 0 until someone reported it
	print       uint64   // what the key counts in checksums; 0 until someone needs it
	over        *beneath // what an override hides; nil without one
	resort      *Seed    // from a snapshot, if the upstream says nothing; nil without one
	resorting   *time.Timer
	origin      clusterclientv1.Origin
	stale       bool
	since       time.Time // of the present state
	reason      string
	tooLarge    bool      // why it is stale
	valueSerial uint64    // counts values
	stateSerial uint64    // counts changes of any kind
	changed     time.Time // when the upstream reported the value; zero for one from before
	updates     uint64    // values reported
	watching
	failures   uint64   // how often the watch has ended by itself
	reported   bool     // by the upstream, in this leadership
	heard      bool     // reported, or failed, once
	waiting    []func() // called when heard
	bequeathed bool     // to the next leader: groups hand nothing out any more
}

// wantKeyLocked returns a key, which it adds if need be; nil when the leadership
// is over.
func (l *Leader) wantKeyLocked(name string, seed *Seed) *key {
	k := l.keys[name]
	if k == nil && !l.closed {
		k = l.newKeyLocked(name, seed)
	}
	return k
}

// newKeyLocked adds a key. Its watch begins when the one before, if any, has
// ended.
func (l *Leader) newKeyLocked(name string, seed *Seed) *key {
	l.numbers++
	k := &key{
		l: l, name: name, number: l.numbers, hash: wire.HashName(name), subs: make([]*sub, 0, 4),
		stale: true, since: time.Now(), reason: "not confirmed by the upstream yet",
		watching: watching{retry: backoff.Backoff{Min: upstreamRetryFirst, Max: upstreamRetryLongest}},
	}
	switch {
	case seed != nil && seed.Snapshot && l.up != nil:
		k.resort = seed
		k.resorting = time.AfterFunc(resortAfter, k.resortNow)
	case seed != nil:
		k.plantLocked(seed)
	}
	if o := l.override[name]; o != nil {
		k.overrideLocked(o)
	}
	if w := l.cfg.Warm.take(name); w != nil {
		k.inherit(w)
	}
	l.keys[name] = k
	if l.up == nil {
		k.reason, k.heard = l.absence, l.absent
		k.stateSerial++ // so that it is told
		return k
	}
	if l.ending[name] == nil {
		k.mu.Lock()
		k.queueLocked()
		k.mu.Unlock()
	}
	return k
}

// close ends the key with the leadership.
func (k *key) close() {
	k.mu.Lock()
	k.endLingerLocked()
	k.resort = nil
	stop, _ := k.goneLocked()
	k.mu.Unlock()
	k.l.source.stop(k.name, stop)
}

// report takes an update from the upstream.
func (k *key) report(u Update) {
	if most := k.l.cfg.Limits.Message; len(u.Data) > most {
		k.failTooLarge(len(u.Data), most)
		return
	}
	if u.Deleted {
		u.Data = nil
	}
	// To compare and to copy can take a while, and sessions must not wait for
	// the mutex meanwhile. One watch reports at a time.
	k.mu.Lock()
	has, old := k.upstreamsLocked()
	k.mu.Unlock()
	news := !has || !sameUpdate(old, u)
	if news {
		u.Data = large.Clone(u.Data) // the upstream may use its buffer again
	}
	content := wire.Content(u.Version, u.Deleted, u.Data)
	k.mu.Lock()
	defer k.mu.Unlock()
	defer k.answerLocked()
	if !news {
		u = old
	}
	if k.l.cfg.Save != nil && (news || !k.reported) {
		k.l.cfg.Save(k.name, u)
	}
	k.resort = nil
	k.confirmLocked()
	if k.over != nil {
		k.reported = true
		k.over.take(u, content)
		return
	}
	k.origin, k.content = clusterclientv1.Origin_ORIGIN_UNSPECIFIED, content
	if news {
		k.has, k.update, k.digest, k.changed = true, u, nil, time.Now()
		k.valueSerial++
		k.updates++
	}
	if term := k.l.term.Load(); news || k.rev.Term != term {
		k.rev = wire.Revision{Term: term, Seq: k.l.seq.Add(1)}
		k.changedLocked()
	}
	k.reported = true
	for _, g := range k.groups {
		g.reportedLocked(news)
	}
	k.setStateLocked(false, "", false, time.Now())
}

// fail notes that the upstream does not vouch for the value any more. It
// returns false when that was known.
func (k *key) fail(reason string) (news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failLocked(reason, false, time.Now())
}

// failTooLarge notes that the upstream has a value that nobody can be told.
func (k *key) failTooLarge(size, most int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failLocked(fmt.Sprintf("the upstream's value has %d bytes, at most %d are allowed by Limits.Message of the leader", size, most), true, time.Now())
}

func (k *key) failLocked(reason string, tooLarge bool, at time.Time) (news bool) {
	defer k.answerLocked()
	k.resortLocked()
	if k.over != nil {
		return k.over.fail(clean(reason), tooLarge)
	}
	news = !k.stale || k.reason != reason
	k.setStateLocked(true, reason, tooLarge, at)
	return news
}

// lose notes that the leader has been blind since at. It returns false when
// the upstream did not vouch for the value anyway.
func (k *key) lose(reason string, at time.Time) (news bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.vouchedLocked() && k.failLocked(reason, false, at)
}

// answerLocked answers those who wait for the first word from the upstream.
func (k *key) answerLocked() {
	k.heard = true
	for _, answer := range k.waiting {
		answer()
	}
	k.waiting = nil
}

func (k *key) setStateLocked(stale bool, reason string, tooLarge bool, at time.Time) {
	if k.stale == stale && k.reason == reason {
		return
	}
	k.tooLarge = tooLarge
	if k.stale != stale {
		k.since = at
	}
	k.stale, k.reason = stale, clean(reason)
	k.changedLocked()
}

// changedLocked tells everybody, in their own time, that there is news.
func (k *key) changedLocked() {
	k.stateSerial++
	k.head, k.print = nil, 0
	for _, sb := range k.subs {
		sb.s.addDue(sb)
	}
}

// restamp lifts the value's revision to a new term.
func (k *key) restamp(term uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has && k.origin != clusterclientv1.Origin_ORIGIN_SNAPSHOT {
		k.rev.Term = term
		k.changedLocked()
	}
}

// sameUpdate reports whether two updates are one value. Deletions are,
// whatever their version: an upstream that finds a key missing often cannot
// tell when it went.
func sameUpdate(a, b Update) bool {
	if a.Deleted && b.Deleted {
		return true
	}
	return a.Version == b.Version && a.Deleted == b.Deleted && large.Equal(a.Data, b.Data)
}
