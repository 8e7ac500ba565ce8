package follower

import (
	"cmp"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A key is what this process holds of one key: the newest value, and who
// waits for the next one. It lives while the process has a subscription.
type key struct {
	f      *Follower
	name   string
	number uint64 // see roster
	hash   wire.NameHash

	due atomic.Pointer[link] // whose leader has to be told what is wanted

	mu      sync.Mutex // guards what follows
	has     bool
	serial  uint64        // counts values that differ from the one before
	first   *Subscription // of a list
	told    *link         // the link on which value was last confirmed
	toldIn  uint64        // sight.lost of that link then
	value   held
	spare   []byte // for the next value, see readers
	content uint64 // hash of value
	counted uint64 // what the key counts in link.held; 0 once it is dropped
	rare    *rare  // what few keys have; nil until this one has
}

// rare is what a key has now and then.
type rare struct {
	trouble error             // why there is no first value yet
	refused error             // why the leader does not serve the key; nil if it does
	keepers int               // subscriptions with KeepOnEmpty
	kept    *held             // the newest one before the upstream had nothing; nil unless there are keepers
	emptied time.Time         // when that was
	groups  map[string]*group // nil until there was one
	joins   []uint64          // requests that the next frames to the leader carry
}

// rareLocked returns what the key has now and then, to be changed.
func (k *key) rareLocked() *rare {
	if k.rare == nil {
		k.rare = new(rare)
	}
	return k.rare
}

func (k *key) groupLocked(name string) *group {
	if k.rare == nil {
		return nil
	}
	return k.rare.groups[name]
}

// troubleLocked returns why there is no first value yet.
func (k *key) troubleLocked() error {
	if k.rare == nil || k.rare.trouble == nil {
		return errNotHeard
	}
	return k.rare.trouble
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

// isNew reports whether the key is wanted and there is no more to tell of it.
func (k *key) isNew() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.first != nil && !k.has && k.rare == nil
}

// wanted returns the frame that tells the leader of l what this process wants of
// the key, what goes behind it, and whether there is more to tell. It returns nil
// when there is another key of that name by now, which tells it.
func (k *key) wanted(l *link) (frame *clusterclientv1.RequestFrame, behind []*clusterclientv1.RequestFrame, more bool) {
	k.f.mu.Lock()
	now := k.f.keys[k.name]
	k.f.mu.Unlock()
	switch now {
	case k:
		s, behind, more := k.subscribeFrame(l)
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{Subscribe: s}}, behind, more
	case nil:
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Unsubscribe{
			Unsubscribe: &clusterclientv1.Unsubscribe{Key: k.name},
		}}, nil, false
	}
	return nil, nil, false
}

func (k *key) subscribeFrame(l *link) (s *clusterclientv1.Subscribe, behind []*clusterclientv1.RequestFrame, more bool) {
	s = &clusterclientv1.Subscribe{Key: k.name}
	k.mu.Lock()
	if r := k.rare; r != nil {
		if len(r.joins) > 0 {
			s.Id, r.joins = r.joins[0], r.joins[1:]
		}
		for _, g := range r.groups {
			back := g.giveBack(l, k.name)
			s.Groups = append(s.Groups, &clusterclientv1.GroupMember{Name: g.name, Done: g.done, Member: g.id, Returns: uint32(len(back))})
			behind = append(behind, back...)
		}
		more = len(r.joins) > 0
	}
	has, v := k.has, k.value.valueOf(k.name)
	k.lendLocked()
	k.mu.Unlock()
	if has {
		s.Known = v.mark() // which may take a while
	}
	return s, behind, more
}

// askWith makes the leader answer the request id once it knows what this
// process wants of the key. It goes the way of all that a leader is told of a
// key: else it might arrive before, or after, an older wish.
func (k *key) askWith(id uint64) {
	k.mu.Lock()
	r := k.rareLocked()
	r.joins = append(r.joins, id)
	k.mu.Unlock()
	if l := k.f.state.Load().link; l != nil {
		l.dueKey(k)
	}
}

// take stores a value that the leader sent. An older one, or one that came
// over a link that is gone, is no news; nor is another one of the same revision,
// which a leader never gives: what was yielded comes before what is.
func (k *key) take(l *link, v *wire.Value) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h := &k.value
	content := v.Content()
	same := k.has && k.content == content && h.is(v) // most are not, which the data need not be fetched for
	if c := v.Revision.Compare(h.revision); k.has && (c < 0 || c == 0 && !same && h.numbered()) {
		return
	}
	if !same {
		k.keepLocked(v.Deleted || v.Equal(nil))
		k.serial++
		k.storeLocked(v)
		h.version, h.deleted = string(v.Version), v.Deleted
		k.content = content
	}
	k.has, k.told, k.toldIn = true, l, l.sight.Load().lost
	if k.rare != nil {
		k.rare.trouble = nil
		k.servedLocked(l)
	}
	h.revision, h.lent = v.Revision, false
	h.setFreshness(v.Freshness, k.name)
	k.countLocked(l)
	k.wakeLocked()
}

// takeState notes what the leader says of the value that is held here.
func (k *key) takeState(l *link, s *clusterclientv1.State) {
	k.mu.Lock()
	defer k.mu.Unlock()
	refused := k.refusalFrom(s)
	if refused != nil {
		k.refuseLocked(l, refused)
	} else {
		k.servedLocked(l)
	}
	if !k.has {
		k.rareLocked().trouble = cmp.Or(refused, reasonFrom(s.GetFreshness(), k.name))
		if refused != nil {
			k.wakeLocked()
		}
		return
	}
	if rev := wire.RevisionFrom(s.GetRevision()); rev.Compare(k.value.revision) > 0 {
		k.value.revision, k.value.lent = rev, true
	}
	k.value.setFreshness(s.GetFreshness(), k.name)
	k.value.reason = cmp.Or(refused, k.value.reason)
	k.told, k.toldIn = l, l.sight.Load().lost
	k.countLocked(l)
	k.wakeLocked()
}

func (k *key) wakeLocked() {
	for s := k.first; s != nil; s = s.next {
		s.wakeLocked()
	}
}

// valueLocked returns the newest value as it is to be seen now. It may be kept.
func (k *key) valueLocked() (v Value) {
	k.lendLocked()
	k.showLocked(&v)
	return v
}

// showLocked sets v to the newest value as it is to be seen now: stale, too,
// when its leader is gone, silent or another one. It is not to be kept beyond the
// mutex.
func (k *key) showLocked(v *Value) {
	k.value.show(v, k.name)
	st := k.f.state.Load()
	switch {
	case st.before != nil && k.told == st.before && st.before.vouches():
	case st.link == nil:
		v.Reason = st.stale(k.name)
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
	case k.rare == nil:
	case !empty || k.rare.keepers == 0:
		k.rare.kept = nil
	case k.has && !k.value.isEmpty():
		k.lendLocked()
		kept := k.value
		k.rare.kept, k.rare.emptied = &kept, time.Now()
	}
}

// enterLocked adds s to the key's subscriptions, whose order does not matter.
func (k *key) enterLocked(s *Subscription) {
	s.key, s.next = k, k.first
	if k.first != nil {
		k.first.prev = s
	}
	k.first = s
}

func (k *key) leaveLocked(s *Subscription) {
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		k.first = s.next
	}
	s.prev, s.next = nil, nil
}

func (k *key) subscriptionsLocked() (n int) {
	for s := k.first; s != nil; s = s.next {
		n++
	}
	return n
}
