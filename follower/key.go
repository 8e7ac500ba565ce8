package follower

import (
	"errors"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A key is what this process holds of one key: the newest value, and who
// waits for the next one. It lives while the process has a subscription.
type key struct {
	f    *Follower
	name string

	// What each value touches comes first, and so in few lines of the
	// processor's cache: there are many keys, and a value finds its own cold.
	mu      sync.Mutex // guards what follows
	has     bool
	serial  uint64 // counts values that differ from the one before
	subs    []*Subscription
	told    *link  // the link on which value was last confirmed
	toldIn  uint64 // sight.lost of that link then
	value   Value  // with the freshness that the leader told
	content uint64 // hash of value
	counted uint64 // what the key counts in link.held; 0 once it is dropped
	trouble error  // why there is no first value yet
	keepers int    // subscriptions with KeepOnEmpty
	kept    *Value // the newest one before the upstream had nothing; nil unless there are keepers

	emptied time.Time         // when that was
	groups  map[string]*group // nil until there was one
	joins   []uint64          // requests that the next frames to the leader carry
}

// withKey calls fn with the key called name, if the process has it.
func (f *Follower) withKey(name string, fn func(*key)) {
	f.mu.Lock()
	k := f.keys[name]
	f.mu.Unlock()
	if k != nil {
		fn(k)
	}
}

// wanted returns the frame that tells a leader what this process wants of the
// key called name, and whether there is more to tell.
func (f *Follower) wanted(name string) (frame *clusterclientv1.RequestFrame, more bool) {
	f.mu.Lock()
	k := f.keys[name]
	f.mu.Unlock()
	if k == nil {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Unsubscribe{
			Unsubscribe: &clusterclientv1.Unsubscribe{Key: name},
		}}, false
	}
	s, more := k.subscribeFrame()
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{Subscribe: s}}, more
}

func (k *key) subscribeFrame() (s *clusterclientv1.Subscribe, more bool) {
	s = &clusterclientv1.Subscribe{Key: k.name}
	k.mu.Lock()
	if len(k.joins) > 0 {
		s.Id, k.joins = k.joins[0], k.joins[1:]
	}
	for _, g := range k.groups {
		s.Groups = append(s.Groups, &clusterclientv1.GroupMember{Name: g.name, Done: g.done, Member: g.id})
	}
	has, v, more := k.has, k.value, len(k.joins) > 0
	k.mu.Unlock()
	if has {
		s.Known = v.mark() // which may take a while
	}
	return s, more
}

// askWith makes the leader answer the request id once it knows what this
// process wants of the key. It goes the way of all that a leader is told of a
// key: else it might arrive before, or after, an older wish.
func (k *key) askWith(id uint64) {
	k.mu.Lock()
	k.joins = append(k.joins, id)
	k.mu.Unlock()
	if l := k.f.state.Load().link; l != nil {
		l.dueKey(k.name)
	}
}

// take stores a value that the leader sent. An older one, or one that came
// over a link that is gone, is no news.
func (k *key) take(l *link, v *wire.Value) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.has && v.Revision.Compare(k.value.Revision) < 0 {
		return
	}
	if !k.has || !k.value.is(v) {
		k.keepLocked(v.Deleted || v.Equal(nil))
		k.serial++
		k.value.Data, k.value.Version, k.value.Deleted = v.Data(), string(v.Version), v.Deleted
		k.content = wire.Content(k.value.Version, k.value.Deleted, k.value.Data)
	}
	k.has, k.told, k.toldIn, k.trouble = true, l, l.sight.Load().lost, nil
	k.value.Revision = v.Revision
	k.value.setFreshness(v.Freshness)
	k.countLocked(l)
	k.wakeLocked()
}

// takeState notes what the leader says of the value that is held here.
func (k *key) takeState(l *link, s *clusterclientv1.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.has {
		k.trouble = errors.New(s.GetFreshness().GetReason())
		return
	}
	if rev := wire.RevisionFrom(s.GetRevision()); rev.Compare(k.value.Revision) > 0 {
		k.value.Revision = rev
	}
	k.value.setFreshness(s.GetFreshness())
	k.told, k.toldIn = l, l.sight.Load().lost
	k.countLocked(l)
	k.wakeLocked()
}

func (k *key) wakeLocked() {
	for _, s := range k.subs {
		s.wake()
	}
}

// valueLocked returns the newest value as it is to be seen now.
func (k *key) valueLocked() (v Value) {
	k.showLocked(&v)
	return v
}

// showLocked sets v to the newest value as it is to be seen now: stale, too,
// when its leader is gone, silent or another one.
func (k *key) showLocked(v *Value) {
	*v = k.value
	v.Key = k.name
	st := k.f.state.Load()
	switch {
	case st.before != nil && k.told == st.before && st.before.vouches():
	case st.link == nil:
		v.Reason = &errs.Error{Code: errs.NoLeader, Op: "hold", Key: k.name, Cause: st.reason}
		v.setStale(st.since)
	case k.told != st.link:
		v.Reason = errors.New("not confirmed by the new leader yet")
		v.setStale(st.link.gapSince)
	default:
		if since, silent := st.link.silence.silent(); silent {
			v.Reason = &errs.Error{Code: errs.NoLeader, Op: "hold", Key: k.name, Cause: errors.New("the leader, " + st.link.String() + ", is silent")}
			v.setStale(since)
		} else {
			st.link.sight.Load().doubt(v, k.toldIn, st.link)
		}
	}
}

// settlingSince returns since when it is being found out whether somebody
// vouches for the value; false when that is known.
func (k *key) settlingSinceLocked() (since time.Time, settling bool) {
	switch st := k.f.state.Load(); {
	case st.link == nil:
		return st.since, true
	case k.told != st.link, k.value.pending:
		return st.link.gapSince, true
	}
	return time.Time{}, false
}

// keepLocked is called before another value, which may be empty, becomes the
// key's. It remembers the one that is erased.
func (k *key) keepLocked(empty bool) {
	switch {
	case !empty || k.keepers == 0:
		k.kept = nil
	case k.has && !k.value.isEmpty():
		kept := k.value
		k.kept, k.emptied = &kept, time.Now()
	}
}
