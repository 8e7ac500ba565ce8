package leader

import (
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// An Override is a value that wins over what the upstream reports.
type Override struct {
	Data    []byte // must not change
	Version string // tells it from others

	content uint64 // set by Leader.Override
}

// beneath is what the upstream says of a key that is overridden.
type beneath struct {
	has     bool
	update  Update
	content uint64 // as that of key
	origin  clusterclientv1.Origin
	stale   bool
	since   time.Time
	reason  string

	tooLarge bool
}

// Override makes o the value of the key called name, whatever the upstream
// reports, until it is called with nil.
func (l *Leader) Override(name string, o *Override) {
	if o != nil {
		o.content = wire.Content(o.Version, false, o.Data)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.override == nil {
		l.override = make(map[string]*Override)
	}
	if o == nil {
		delete(l.override, name)
	} else {
		l.override[name] = o
	}
	k := l.keys[name]
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if o == nil {
		k.uncoverLocked()
	} else {
		k.overrideLocked(o)
	}
}

func (k *key) overrideLocked(o *Override) {
	if k.over == nil {
		k.over = &beneath{has: k.has, update: k.update, content: k.content, origin: k.origin, stale: k.stale, since: k.since, reason: k.reason, tooLarge: k.tooLarge}
	}
	k.stale, k.since, k.reason, k.origin = false, time.Now(), "", clusterclientv1.Origin_ORIGIN_OVERRIDE
	k.tooLarge = false
	k.showLocked(Update{Data: o.Data, Version: o.Version}, o.content)
}

// uncoverLocked shows again what the upstream says.
func (k *key) uncoverLocked() {
	b := k.over
	if b == nil {
		return
	}
	k.over = nil
	k.stale, k.since, k.reason, k.origin, k.tooLarge = b.stale, b.since, b.reason, b.origin, b.tooLarge
	if b.has {
		k.showLocked(b.update, b.content)
		return
	}
	k.stale, k.since, k.origin = true, time.Now(), clusterclientv1.Origin_ORIGIN_UNSPECIFIED
	k.reason = "the override was removed, and the upstream has no value: " + b.reason
	k.changedLocked()
}

// showLocked makes u the value for everybody.
func (k *key) showLocked(u Update, content uint64) {
	k.has, k.update, k.content, k.digest, k.changed = true, u, content, nil, time.Now()
	k.valueSerial++
	k.rev = wire.Revision{Term: k.l.term.Load(), Seq: k.l.seq.Add(1)}
	for _, g := range k.groups {
		g.reportedLocked(true)
	}
	k.changedLocked()
}

// upstreamsLocked returns the upstream's value.
func (k *key) upstreamsLocked() (has bool, u Update) {
	if k.over != nil {
		return k.over.has, k.over.update
	}
	return k.has, k.update
}

// take notes what the upstream reports.
func (b *beneath) take(u Update, content uint64) {
	if b.stale {
		b.stale, b.reason, b.since, b.tooLarge = false, "", time.Now(), false
	}
	b.has, b.update, b.content, b.origin = true, u, content, clusterclientv1.Origin_ORIGIN_UNSPECIFIED
}

// fail notes that the upstream does not vouch for it. It returns false when
// that was known.
func (b *beneath) fail(reason string, tooLarge bool) (news bool) {
	news = !b.stale || b.reason != reason
	if !b.stale {
		b.stale, b.since = true, time.Now()
	}
	b.reason, b.tooLarge = reason, tooLarge
	return news
}
