package follower

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// errDetached is why a link ended that nobody had a complaint about.
var errDetached = errors.New("the session ended")

// partPatience is how long Close waits for the leader to see it.
const partPatience = 250 * time.Millisecond

// withdrawPatience is how long Close waits for registrations to be withdrawn.
const withdrawPatience = 2 * time.Second

// A Driver gives a [Follower] its links. Package clusterclient holds it;
// programs do not.
type Driver struct{ f *Follower }

// A Link joins a Follower to the leader of one term: a session that has been
// welcomed.
type Link struct {
	Stream    wire.Stream
	Welcome   *clusterclientv1.Welcome
	Conn      grpc.ClientConnInterface // carries streams of other services
	Release   func()                   // closes Conn; called once, when nothing uses it any more
	Close     func()                   // makes Stream's methods return
	CloseSend func() error             // says that nothing more will be sent
	Busy      func(context.Context)    // called once when there is much on Stream; its context ends with the link; may be nil
	Term      func(uint64)             // called when the term has grown
	Sight     func(Sight)              // called when that has changed; may be nil
	Named     func(successor []byte)   // called when the leader that leaves has named one; may be nil

	// HandOver, if not nil, is called with what the leader says to its
	// successor, Prepare and Succeed. It does not block.
	HandOver func(*clusterclientv1.ResponseFrame)

	// Direct, if not nil, returns a function that calls go through instead of
	// Stream; replies go to the function it is given. See leader.Leader.Direct.
	Direct func(reply func(*wire.Reply)) func(*wire.Call) (taken bool)
}

// Run puts the Follower on a link and returns, when the link has ended, why.
func (d *Driver) Run(ctx context.Context, lk Link) error {
	l := newLink(d.f, lk)
	if !d.f.attach(l) {
		lk.Release()
		return d.f.closedErr("attach", "")
	}
	stop := context.AfterFunc(ctx, func() { l.part(context.Cause(ctx)) })
	err := l.run()
	stop()
	if why := l.leaves.Load(); why != nil && *why != "" {
		err = fmt.Errorf("it has left: %s", *why)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	d.f.detach(l, err)
	d.f.linger(l, lk.Release, ctx.Err() != nil)
	return err
}

// linger closes the connection of a link that has ended once its streams have,
// or at once if nobody is to wait for them.
func (f *Follower) linger(l *link, release func(), now bool) {
	f.mu.Lock()
	now = now || f.closed
	f.lingering[l] = struct{}{}
	f.mu.Unlock()
	l.streams.endWith(func() {
		f.mu.Lock()
		delete(f.lingering, l)
		f.mu.Unlock()
		release()
	})
	if now {
		l.streams.finish()
	}
}

// part ends the link. A client that is closed takes its leave of the leader,
// which so knows that nothing is wrong.
func (l *link) part(why error) {
	if !errors.Is(why, errs.ErrClosed) {
		l.close()
		return
	}
	l.w.Finish()
	late := time.AfterFunc(partPatience, l.close)
	context.AfterFunc(l.ctx, func() { late.Stop() })
}

// attach makes l the link. All that the process wants is due on it.
func (f *Follower) attach(l *link) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.listRegistrationsLocked(l)
	last := f.state.Load()
	l.gapSince = last.since
	f.state.Store(&linkState{link: l, since: time.Now(), before: last.before.handedTo(l)})
	f.roster = roster{link: l}
	f.announceLocked()
	for _, k := range f.keys {
		l.dueKey(k)
		k.joinedLink(l)
	}
	f.wakeKeysLocked()
	f.replayLocked(l)
	return true
}

// detach ends l; calls that are still under way on it learn that it is lost.
func (f *Follower) detach(l *link, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		err = errDetached
	}
	l.lose(err)
	l.endAll(lost)
	if f.state.Load().link == l {
		st := &linkState{since: time.Now(), reason: fmt.Errorf("the leader, %s, is gone: %w", l, plain(err)), before: l.handing()}
		if f.closed {
			l.silence.stop()
			st.reason, st.before = errs.ErrClosed, nil
		}
		f.state.Store(st)
		f.roster = roster{}
		f.announceLocked()
		f.wakeKeysLocked()
	}
}

func (f *Follower) announceLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// goUnlessClosed runs fn in a goroutine that Wait waits for.
func (f *Follower) goUnlessClosed(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.wg.Go(fn)
	}
}

// NoLink notes why there is no link; what waits for one says so.
func (d *Driver) NoLink(reason error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if st := d.f.state.Load(); st.link == nil && !d.f.closed {
		d.f.state.Store(&linkState{since: st.since, reason: reason, before: st.before})
	}
}

// Tell sends the leader a frame, if there is a link.
func (d *Driver) Tell(frame *clusterclientv1.RequestFrame) {
	if l := d.f.state.Load().link; l != nil {
		l.w.Send(frame, nil)
	}
}

// Succeed ends the link once all that was said has been sent. The leader has
// handed over to this process, which is next.
func (d *Driver) Succeed(next *clusterclientv1.Peer) {
	if l := d.f.state.Load().link; l != nil {
		l.next.Store(next)
		l.leaving.Store(true)
		l.w.Finish()
	}
}

// LastBeat returns when the leader was last heard of on the present link; the
// zero time when there is none.
func (d *Driver) LastBeat() time.Time {
	l := d.f.state.Load().link
	if l == nil {
		return time.Time{}
	}
	return l.silence.last()
}

// TakeCrowd returns how many sessions the last leader had when it was heard
// last, and 0 from then on, until there is another one.
func (d *Driver) TakeCrowd() int { return int(d.f.crowd.Swap(0)) }

// Newest returns the newest value known of key.
func (d *Driver) Newest(key string) (Value, bool) {
	d.f.mu.Lock()
	k := d.f.keys[key]
	d.f.mu.Unlock()
	if k == nil {
		return Value{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.valueLocked(), k.has
}

// Stats is a snapshot of what a Follower holds.
type Stats struct {
	Keys          int // subscribed to in this process
	Subscriptions int
	StaleKeys     int
	OldestStale   time.Time // since when the one that is stale for the longest is
	Registrations int
	Resyncs       uint64            // see link.resync
	Running       int               // calls under way
	Calls         map[string]uint64 // that have ended, by gRPC code
}

// Stats returns a snapshot.
func (d *Driver) Stats() Stats {
	f := d.f
	f.mu.Lock()
	defer f.mu.Unlock()
	st := Stats{Keys: len(f.keys), Registrations: len(f.regs), Resyncs: f.resyncs.Load(), Calls: f.ends.counts()}
	for _, k := range f.keys {
		k.mu.Lock()
		st.Subscriptions += k.subscriptionsLocked()
		var v Value
		if k.showLocked(&v); v.Stale {
			st.StaleKeys++
			if st.OldestStale.IsZero() || v.Since.Before(st.OldestStale) {
				st.OldestStale = v.Since
			}
		}
		k.mu.Unlock()
	}
	if l := f.state.Load().link; l != nil {
		st.Running = l.waiting.len()
	}
	return st
}

// Withdraw takes back all registrations of the process, within a bound.
func (d *Driver) Withdraw() {
	f := d.f
	f.mu.Lock()
	regs := make([]*Registration, 0, len(f.regs))
	for _, r := range f.regs {
		regs = append(regs, r)
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), withdrawPatience)
	defer cancel()
	for _, r := range regs {
		if err := r.withdraw(ctx); err != nil && !errors.Is(err, errs.ErrClosed) {
			f.cfg.Logger.Warn("registration not withdrawn, the next leader does it", "key", r.key, "error", err)
		}
	}
}

// Close ends every subscription and call with ErrClosed.
func (d *Driver) Close() {
	f := d.f
	defer f.endStreams()
	f.leaveGroups()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.done)
		f.announceLocked()
		f.wakeKeysLocked()
		st := f.state.Load()
		if st.before != nil {
			st.before.silence.stop()
		}
		if st.link != nil {
			st.link.endAll(closed)
		} else {
			f.state.Store(&linkState{since: st.since, reason: errs.ErrClosed})
		}
	}
}

// endStreams ends those on the connections of links that have ended.
func (f *Follower) endStreams() {
	f.mu.Lock()
	all := slices.Collect(maps.Keys(f.lingering))
	f.mu.Unlock()
	for _, l := range all {
		l.streams.finish()
	}
}

// Wait returns when, after Close and the end of the last link, nothing runs
// any more.
func (d *Driver) Wait() { d.f.wg.Wait() }
