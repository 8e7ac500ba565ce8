package follower

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
)

// Subscriptions are those of many keys, whose values come from one Next. They
// live until they, or their Client, are closed, across takeovers. Their methods
// are safe for concurrent use, but a value goes to only one of several
// goroutines in Next.
type Subscriptions struct {
	f    *Follower
	opts *subscribeOptions
	done chan struct{} // closed by Close
	news inbox

	changing sync.Mutex // guards what follows; taken before all others
	closed   bool
	subs     map[string]*Subscription
}

// SubscribeAll starts to watch keys, as [Follower.Subscribe] does with each of
// them, for one reader of all: it takes less memory and time than a goroutine
// for each key does. More keys can be added, and some removed, later. The
// options are for each key; [QueueGroup] is refused.
//
// It fails with ErrInvalid, and watches nothing, when one of keys cannot be
// one.
func (f *Follower) SubscribeAll(ctx context.Context, keys []string, opts ...SubscribeOption) (*Subscriptions, error) {
	o, err := f.optionsOf(opts)
	if err == nil && o.hasGroup {
		err = errors.New("a queue group is of one key")
	}
	if err != nil {
		return nil, f.fail(errs.Invalid, "subscribe", "", err)
	}
	if ctx.Err() != nil {
		return nil, f.ended(ctx, "subscribe", "", nil)
	}
	if f.isClosed() { // even if there are no keys
		return nil, f.closedErr("subscribe", "")
	}
	a := &Subscriptions{f: f, opts: o, done: make(chan struct{}), subs: make(map[string]*Subscription, len(keys))}
	a.news.bell = make(chan struct{}, 1)
	if err := a.Add(keys...); err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

// Add starts to watch more keys. Those that are watched already stay as they
// are. It fails with ErrInvalid, and adds none, when one of them cannot be a
// key, and with ErrClosed.
func (a *Subscriptions) Add(keys ...string) error {
	for _, key := range keys {
		if err := a.f.checkKey("subscribe", key); err != nil {
			return err
		}
	}
	a.changing.Lock()
	defer a.changing.Unlock()
	for _, key := range keys {
		if a.closed {
			return a.f.closedErr("subscribe", key)
		}
		if a.subs[key] != nil {
			continue
		}
		s := newSubscription(a.opts, a)
		if !a.f.add(s, key) {
			return a.f.closedErr("subscribe", key)
		}
		a.subs[key] = s
	}
	return nil
}

// Remove ends the watch of keys: a Next that begins afterwards returns no value
// of theirs. Those that are not watched are passed over. Added again, a key
// begins anew with its present value.
func (a *Subscriptions) Remove(keys ...string) {
	a.changing.Lock()
	defer a.changing.Unlock()
	for _, key := range keys {
		if s := a.subs[key]; s != nil {
			delete(a.subs, key)
			_ = s.Close()
		}
	}
}

// Value returns the newest value known of key, as [Subscription.Value] does;
// false, too, when key is not watched.
func (a *Subscriptions) Value(key string) (Value, bool) {
	a.changing.Lock()
	s := a.subs[key]
	a.changing.Unlock()
	if s == nil {
		return Value{}, false
	}
	return s.Value()
}

// Next returns the newest value of a key that has one which was not returned
// yet, and waits if there is none. [Value.Key] says whose it is. For each key
// it returns what [Subscription.Next] would; keys take turns, so that one that
// changes all the time keeps no other from being returned.
//
// It fails when ctx ends, with an error that is ctx's, with ErrClosed, and, for
// a key that its Key names, with ErrStale as [MaxStale] says, and with ErrLimit
// or ErrTooLarge as [Subscription.Next] does.
func (a *Subscriptions) Next(ctx context.Context) (v Value, err error) {
	var g glance
	for {
		s := a.news.take()
		switch {
		case a.isClosed():
			return v, a.f.closedErr("next", "")
		case s == nil:
			if err := a.wait(ctx); err != nil {
				return v, err
			}
		case s.glance(&v, &g):
			return v, g.err
		}
	}
}

func (a *Subscriptions) isClosed() bool {
	select {
	case <-a.done:
		return true
	default:
		return a.f.isClosed()
	}
}

// glance is poll for one of a set. It reports whether there is something to
// return. Of a subscription that has ended there is nothing.
func (s *Subscription) glance(v *Value, g *glance) bool {
	s.poll(v, g)
	if !g.again.IsZero() {
		s.lookAgain(g.again)
	}
	return g.ok || g.err != nil && errs.GoesOn(g.err)
}

// lookAgain makes Next look at s again at a time at which nobody wakes it.
func (s *Subscription) lookAgain(at time.Time) {
	s.key.mu.Lock()
	defer s.key.mu.Unlock()
	switch {
	case s.closed:
	case s.rare.again == nil:
		s.rare.again = time.AfterFunc(time.Until(at), func() {
			s.key.mu.Lock()
			defer s.key.mu.Unlock()
			s.wakeLocked()
		})
	default:
		s.rare.again.Reset(time.Until(at))
	}
}

// wait returns nil when there may be something to see.
func (a *Subscriptions) wait(ctx context.Context) error {
	if !a.news.await() {
		return nil
	}
	defer a.news.awaited()
	select {
	case <-a.news.bell:
	case <-a.done:
	case <-a.f.done:
	case <-ctx.Done():
		return a.f.ended(ctx, "next", "", a.waitsFor())
	}
	return nil
}

// waitsFor says why there is no next value.
func (a *Subscriptions) waitsFor() error {
	a.changing.Lock()
	keys := len(a.subs)
	a.changing.Unlock()
	switch {
	case keys == 0:
		return errors.New("no key is watched")
	case a.f.state.Load().link == nil:
		return a.f.noLeader()
	}
	return errors.New("no value has changed")
}

// Values yields what [Subscriptions.Next] returns until ctx ends, the
// subscriptions are closed, or the loop is left. The last pair then has the
// reason, unless the loop was left. ErrStale, ErrLimit and ErrTooLarge do not
// end it.
func (a *Subscriptions) Values(ctx context.Context) iter.Seq2[Value, error] {
	return func(yield func(Value, error) bool) {
		for {
			v, err := a.Next(ctx)
			if !yield(v, err) || err != nil && !errs.GoesOn(err) {
				return
			}
		}
	}
}

// Close ends the subscriptions; Next fails with ErrClosed from then on. It is
// idempotent and never fails.
func (a *Subscriptions) Close() error {
	a.changing.Lock()
	defer a.changing.Unlock()
	if a.closed {
		return nil
	}
	a.closed = true
	close(a.done)
	for _, s := range a.subs {
		_ = s.Close()
	}
	a.subs = nil
	return nil
}
