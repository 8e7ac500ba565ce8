package follower

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/errs"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	replayFirst   = 500 * time.Millisecond
	replayLongest = 30 * time.Second

	// replayAfter is how long a new leader is left alone before registrations
	// are announced to it: what processes wait for comes first. It is part of
	// the time for which a registration may be absent.
	replayAfter = 50 * time.Millisecond
)

// A Registration is something this process announces upstream. It lasts until
// Close, the Client's Close, or the end of the process, whoever leads. Its
// methods are safe for concurrent use.
type Registration struct {
	f   *Follower
	id  uint64
	key string

	op     chan struct{} // one slot, full during an operation: they do not overtake; guards what follows
	data   []byte        // newest acknowledged
	on     *link         // that acknowledged it
	closed bool
}

// Register announces data, which may be empty but not nil, under key for as
// long as this process lives, and returns when the upstream has acknowledged
// it. Each new leader announces the newest data again, 50 ms after this process
// has joined it. When the process dies it is withdrawn after a grace of 3 s, and
// when it lives but has no session with the leader, since it is stopped for
// instance, after 30 s; a change of leader alone never withdraws it.
//
// It fails with ErrLimit when the client has as many registrations as the
// leader's Limits.Registrations allow, 4096 by default, or would announce more
// than Limits.Message bytes in all of them; what was announced stays. Update
// does so for the latter.
//
// An error of the upstream is a gRPC status with the upstream's text;
// Unimplemented says that the upstream cannot register.
func (f *Follower) Register(ctx context.Context, key string, data []byte) (*Registration, error) {
	if err := cmp.Or(f.checkKey("register", key), f.checkValue("register", key, data)); err != nil {
		return nil, err
	}
	r := &Registration{f: f, id: f.ids.Add(1), key: key, op: make(chan struct{}, 1)}
	f.mu.Lock()
	f.unsettled[r.id] = struct{}{}
	f.mu.Unlock()
	if err := r.announce(ctx, "register", data); err != nil {
		f.goUnlessClosed(r.retract)
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.unsettled, r.id)
	f.regs[r.id] = r
	if l := f.state.Load().link; l != nil && l != r.on && !f.closed { // it is new, and r was not among those replayed
		f.wg.Go(func() { r.replay(l) })
	}
	return r, nil
}

// Update replaces the announced data and returns when the upstream has
// acknowledged it. When it fails the data before is announced still, or, if
// the outcome is unknown, either one. It fails with ErrClosed after Close.
func (r *Registration) Update(ctx context.Context, data []byte) error {
	ctx, cancel := r.f.withTimeout(ctx)
	defer cancel()
	if err := r.begin(ctx, "update"); err != nil {
		return err
	}
	defer r.end()
	if r.closed {
		return r.f.closedErr("update", r.key)
	}
	if err := r.f.checkValue("update", r.key, data); err != nil {
		return err
	}
	return r.announce(ctx, "update", data)
}

// begin waits, within ctx, for the operation that is under way.
func (r *Registration) begin(ctx context.Context, op string) error {
	select {
	case r.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return r.f.ended(ctx, op, r.key, nil)
	}
}

func (r *Registration) end() { <-r.op }

// Close withdraws the registration, upstream too, and returns when that is
// acknowledged; it waits as long as a call does. It is idempotent.
func (r *Registration) Close() error {
	ctx, cancel := r.f.withTimeout(context.Background())
	defer cancel()
	return r.withdraw(ctx)
}

// announce is called within an operation, as is takeBack.
func (r *Registration) announce(ctx context.Context, op string, data []byte) error {
	data = slices.Clone(data) // the next leader gets it as it is now
	on, err := r.f.do(ctx, r.announcement(op, data))
	if err != nil {
		return err
	}
	r.data, r.on = data, on
	return nil
}

// announcement is the request that announces data.
func (r *Registration) announcement(op string, data []byte) *request {
	return &request{op: op, key: r.key, again: always, frame: func(id uint64, deadline int64) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Register{
			Register: &clusterclientv1.Register{Id: id, Registration: r.id, Key: r.key, Data: data, Deadline: deadline},
		}}
	}}
}

func (r *Registration) withdraw(ctx context.Context) error {
	if err := r.begin(ctx, "withdraw"); err != nil {
		return err
	}
	defer r.end()
	if r.closed {
		return nil
	}
	if err := r.takeBack(ctx); err != nil {
		return err
	}
	r.closed = true
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	delete(r.f.regs, r.id)
	return nil
}

func (r *Registration) takeBack(ctx context.Context) error {
	_, err := r.f.do(ctx, &request{op: "withdraw", key: r.key, again: always, frame: func(id uint64, deadline int64) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Deregister{
			Deregister: &clusterclientv1.Deregister{Id: id, Registration: r.id, Key: r.key, Deadline: deadline},
		}}
	}})
	return err
}

// retract takes back a registration whose announcement failed: it may have
// reached the upstream all the same. It goes on until it can, or the client is
// closed: a leader that knows of the registration lets others' stay until this
// one was announced again.
func (r *Registration) retract() {
	retry := backoff.Backoff{Min: replayFirst, Max: replayLongest}
	for {
		err := r.retractOnce()
		if err == nil || errors.Is(err, errs.ErrClosed) {
			r.f.mu.Lock()
			delete(r.f.unsettled, r.id)
			r.f.mu.Unlock()
			return
		}
		if times, due := r.f.repeats.Due("take back " + r.key); due {
			r.f.cfg.Logger.Warn("failed registration not taken back, trying again", "key", r.key, "error", err, "times", times)
		}
		pause := time.NewTimer(retry.Next())
		select {
		case <-pause.C:
		case <-r.f.done:
			pause.Stop()
			return
		}
	}
}

func (r *Registration) retractOnce() error {
	ctx, cancel := r.f.withTimeout(context.Background())
	defer cancel()
	return r.takeBack(ctx)
}

// listRegistrationsLocked tells a new link which registrations there are, before
// it is said anything else of them.
func (f *Follower) listRegistrationsLocked(l *link) {
	l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Registrations{
		Registrations: &clusterclientv1.Registrations{
			Announced: slices.Collect(maps.Keys(f.regs)), Unsettled: slices.Collect(maps.Keys(f.unsettled)),
		},
	}}, nil)
}

// replayLocked announces every registration on a new link, in a while.
func (f *Follower) replayLocked(l *link) {
	if len(f.regs) == 0 {
		return
	}
	f.wg.Go(func() {
		soon := time.NewTimer(replayAfter)
		defer soon.Stop()
		select {
		case <-soon.C:
			f.replay(l)
		case <-l.ctx.Done():
		}
	})
}

// replay announces every registration on a link, unless there is another one.
func (f *Follower) replay(l *link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Load().link != l || f.closed {
		return
	}
	for _, r := range f.regs {
		f.wg.Go(func() { r.replay(l) })
	}
}

// replay announces the newest data on l, until that is acknowledged or l is
// lost.
func (r *Registration) replay(l *link) {
	retry := backoff.Backoff{Min: replayFirst, Max: replayLongest}
	for {
		err := r.replayOnce(l)
		if err == nil {
			return
		}
		if times, due := r.f.repeats.Due("announce " + r.key); due {
			r.f.cfg.Logger.Warn("registration not announced to the new leader, trying again", "key", r.key, "error", err, "times", times)
		}
		if retry.Wait(l.ctx) != nil {
			return
		}
	}
}

// replayOnce returns nil when nothing is left to do on l.
func (r *Registration) replayOnce(l *link) error {
	if r.begin(l.ctx, "register") != nil {
		return nil
	}
	defer r.end()
	if r.closed || r.on == l {
		return nil
	}
	a, state, err := l.attempt(l.ctx, time.Now().Add(r.f.cfg.CallTimeout), r.announcement("register", r.data))
	if state != settled || l.ctx.Err() != nil { // the leader is leaving, or gone
		return nil
	}
	if err == nil {
		err = r.f.answer("register", r.key, &a.reply)
		r.f.release(a)
	}
	switch {
	case err == nil:
		r.on = l
	case errors.Is(err, errs.ErrClosed):
		return nil
	}
	return err
}
