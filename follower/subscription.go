package follower

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Subscription yields the values of one key. It lives until it, or its
// Client, is closed, across takeovers. Its methods are safe for concurrent
// use, but a value goes to only one of several goroutines in Next.
type Subscription struct {
	key  *key
	opts *subscribeOptions // not changed; most have those of the Follower
	rare *rareSubscription // nil without options
	set  *Subscriptions    // that it is of; nil when it is the program's

	// Guarded by key.mu.
	bell       chan struct{} // one slot: poll may have news; nil until somebody waits
	prev, next *Subscription // of the key
	seen       uint64        // key.serial of the newest value looked at
	closed     bool
	yielded    bool
	refused    bool // ErrStale was the last thing said
	unserved   bool // it was said that the leader does not serve the key
	inInbox    bool // of the set, whose mutex guards it
	owns       bool // nobody else reads data; see readers
	deleted    bool // as are data, version and revision, what was yielded last
	data       []byte
	version    string
	revision   Revision
	serial     uint64 // key.serial then

	behind *Subscription // in the set's inbox, whose mutex guards it
}

// rareSubscription is what subscriptions with options have.
type rareSubscription struct {
	gate    *gate // nil without Validate
	created time.Time

	// Guarded by key.mu.
	last  Value       // yielded; only WithStates
	held  []*task     // yielded and not acknowledged
	again *time.Timer // wakes those who wait; nil until one of a set had to look again
}

// Subscribe starts to watch key, in this process and, when it is the first on
// the host to do so, upstream. It does not wait for a value; a subscription
// made while there is no leader is served once there is one. Only a
// [QueueGroup] waits, within ctx, until the leader knows of the member, so
// that no later update is missed. ctx does not bound the subscription's life.
//
// It fails with ErrInvalid for a key that is empty, longer than 4096 bytes or
// not UTF-8, and for such a group, which may be empty though.
func (f *Follower) Subscribe(ctx context.Context, key string, opts ...SubscribeOption) (*Subscription, error) {
	o, err := f.optionsOf(opts)
	if err != nil {
		return nil, f.fail(errs.Invalid, "subscribe", key, err)
	}
	if err := f.checkKey("subscribe", key); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, f.ended(ctx, "subscribe", key, nil)
	}
	s := newSubscription(o, nil)
	if !f.add(s, key) {
		return nil, f.closedErr("subscribe", key)
	}
	if o.hasGroup {
		if err := s.join(ctx); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	return s, nil
}

// optionsOf returns what opts add up to.
func (f *Follower) optionsOf(opts []SubscribeOption) (*subscribeOptions, error) {
	if len(opts) == 0 {
		return &f.plain, nil
	}
	o := new(subscribeOptions)
	return o, o.apply(opts)
}

// newSubscription returns one that has no key yet.
func newSubscription(o *subscribeOptions, set *Subscriptions) *Subscription {
	s := &Subscription{opts: o, set: set}
	if o.hasGroup || o.looksTwice() {
		s.rare = &rareSubscription{created: time.Now()}
	}
	if o.validate != nil {
		s.rare.gate = &gate{validate: o.validate}
	}
	return s
}

// gate returns the validation, nil without one.
func (s *Subscription) gate() *gate {
	if s.rare == nil {
		return nil
	}
	return s.rare.gate
}

// add registers s with its key, which it creates if need be.
func (f *Follower) add(s *Subscription, name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	k := f.keys[name]
	if k == nil {
		k = &key{f: f, name: name, hash: wire.HashName(name)}
		f.keys[name] = k
		if l := f.state.Load().link; l != nil {
			l.dueKey(k)
			k.joinedLink(l)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.enterLocked(s)
	if s.opts.keep > 0 {
		k.rareLocked().keepers++
	}
	if s.opts.hasGroup {
		k.enterGroupLocked(s.opts.group)
	}
	if s.set != nil && (k.has || k.refusedLocked() != nil) {
		s.wakeLocked()
	}
	return true
}

// join waits until the leader knows of the queue group's member.
func (s *Subscription) join(ctx context.Context) error {
	_, err := s.key.f.do(ctx, s.joining())
	return err
}

// joining is the request that is answered when the leader knows what this process
// wants of the key.
func (s *Subscription) joining() *request {
	return &request{op: "subscribe", key: s.key.name, again: always, waits: errNotHeard, frame: func(id uint64, _ int64) *clusterclientv1.RequestFrame {
		s.key.askWith(id)
		return nil
	}}
}

// Value returns the newest value known of the key, whether or not Next has
// returned it, and however stale it is; false when none is known yet. With
// [Validate] or [KeepOnEmpty] it is the value that those let through. It never
// blocks, unless what Validate was given does.
func (s *Subscription) Value() (Value, bool) {
	s.lockJudged()
	defer s.key.mu.Unlock()
	s.key.lendLocked()
	var v Value
	has, _ := s.viewLocked(&v)
	return v, has
}

// Next returns the newest value that this subscription has not returned yet,
// and waits for one if there is none. The first call returns the present
// value. A reader that is slow misses values in between, never the newest one.
// A value equal to the one returned last, in data, version and deletion, is
// not returned again, but for what [WithStates] and [MaxStale] say.
//
// It fails when ctx ends, with an error that is ctx's and says what was being
// waited for, with ErrClosed, and with ErrStale as [MaxStale] says. It fails,
// once for each leader that says so, with ErrLimit when this client subscribes
// to more keys than the leader allows, and with ErrTooLarge when the key is
// longer. The subscription lives on all the same: it is served when another one
// of this client is closed, or by a leader that allows more. A value that
// arrives later is returned by the next call.
func (s *Subscription) Next(ctx context.Context) (v Value, err error) {
	var g glance
	for s.poll(&v, &g); !g.ok && g.err == nil; s.poll(&v, &g) {
		if g.again.IsZero() && ctx.Done() == nil { // a select costs several times as much as this
			<-g.bell
			continue
		}
		if err := s.wait(ctx, &g); err != nil {
			return v, err
		}
	}
	return v, g.err
}

// wait returns nil when there may be something else to see.
func (s *Subscription) wait(ctx context.Context, g *glance) error {
	var later <-chan time.Time
	if !g.again.IsZero() {
		t := time.NewTimer(time.Until(g.again))
		defer t.Stop()
		later = t.C
	}
	select {
	case <-g.bell:
	case <-later:
	case <-ctx.Done():
		return s.key.f.ended(ctx, "next", s.key.name, s.waitsFor())
	}
	return nil
}

// wakeLocked makes one of those who wait in Next look again.
func (s *Subscription) wakeLocked() {
	if s.set != nil {
		s.set.news.add(s)
		return
	}
	if s.bell == nil {
		return
	}
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

func (s *Subscription) acknowledgeLocked() {
	for _, t := range s.rare.held {
		t.acknowledge()
	}
	s.rare.held = nil
}

var errNotHeard = errors.New("the upstream has not reported a value yet")

// waitsFor says why there is no next value.
func (s *Subscription) waitsFor() error {
	k := s.key
	k.mu.Lock()
	defer k.mu.Unlock()
	var v Value
	has, _ := s.viewLocked(&v)
	switch st := k.f.state.Load(); {
	case s.refused:
		return s.staleError(&v)
	case s.gate() != nil && !has && s.gate().why != nil:
		return s.gate().why
	case st.link == nil:
		return k.f.noLeader()
	case k.refusedLocked() != nil:
		return k.refusedLocked()
	case !k.has:
		return k.troubleLocked()
	default:
		return errors.New("the value has not changed")
	}
}

// Values yields what [Subscription.Next] returns until ctx ends, the
// subscription is closed, or the loop is left. The last pair then has the
// reason, unless the loop was left. ErrStale, see [MaxStale], does not end it,
// and neither do ErrLimit and ErrTooLarge.
func (s *Subscription) Values(ctx context.Context) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for {
			v, err := s.Next(ctx)
			if !yield(v, err) || err != nil && !errs.GoesOn(err) {
				return
			}
		}
	}
}

// Close ends the subscription; Next fails with ErrClosed from then on. The
// upstream is watched a little longer, for the linger of the leader, in case
// somebody wants the key again. Close is idempotent and never fails.
func (s *Subscription) Close() error {
	f, k := s.key.f, s.key
	f.mu.Lock()
	defer f.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.wakeLocked()
	k.leaveLocked(s)
	tell := k.first == nil
	if s.rare != nil {
		s.dropLocked()
		tell = s.opts.hasGroup && k.leaveGroupLocked(s.opts.group) || tell
	}
	if k.first == nil {
		delete(f.keys, k.name)
		f.roster.forget(k)
	}
	if l := f.state.Load().link; tell && l != nil {
		l.dueKey(k)
		if k.first == nil {
			k.leftLinkLocked(l)
			l.parted(k)
		}
	}
	return nil
}

// dropLocked ends what only subscriptions with options have.
func (s *Subscription) dropLocked() {
	if s.rare.again != nil {
		s.rare.again.Stop()
	}
	s.acknowledgeLocked()
	if r := s.key.rare; s.opts.keep > 0 {
		if r.keepers--; r.keepers == 0 {
			r.kept = nil
		}
	}
}

// Get returns the newest value of key and waits, within ctx, for the first
// one. Without a deadline it waits as long as a call does. The value may be
// stale, and may be a deletion; both are marked. With [MaxStale] it fails with
// ErrStale as Next does, as it does with ErrLimit and ErrTooLarge if there is
// no value; [WithStates] makes no difference, and [QueueGroup] is
// refused. Following a key with Get costs less while the process has a
// subscription to it.
func (f *Follower) Get(ctx context.Context, key string, opts ...SubscribeOption) (Value, error) {
	v, err := f.get(ctx, key, opts)
	return v, errs.In("get", "", err)
}

func (f *Follower) get(ctx context.Context, key string, opts []SubscribeOption) (Value, error) {
	var o subscribeOptions
	if err := o.apply(opts); err == nil && o.hasGroup {
		return Value{}, f.fail(errs.Invalid, "get", key, errors.New("a queue group hands out updates, not the present value"))
	}
	s, err := f.Subscribe(ctx, key, opts...)
	if err != nil {
		return Value{}, err
	}
	defer func() { _ = s.Close() }()
	var v Value
	var g glance
	if s.poll(&v, &g); g.ok || g.err != nil {
		return v, g.err
	}
	ctx, cancel := f.withTimeout(ctx)
	defer cancel()
	return s.Next(ctx)
}
