package clusterclient

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/lease"
)

// A tenure is one leadership's hold on the lease of its name. It is renewed
// while the leader's own loop runs, and looked at before the leader acts. A
// nil tenure is that of a leadership without a lease.
type tenure struct {
	c     *Client
	bell  chan struct{} // one slot: the leader's loop has just run
	led   atomic.Bool   // there is a leader, whose loop rings
	until atomic.Int64  // on the host's clock; nobody takes over before, or deposes

	busy      chan struct{} // one slot, full while a file is read or written; guards what follows
	record    lease.Record
	supersede func(*supersededError) // ends the leadership
	released  bool
	lost      error // why there is no lease any more; the leadership goes on without
}

var errSuperseded = errors.New("another process leads in a higher term")

func (c *Client) newTenure(r lease.Record) *tenure {
	t := &tenure{c: c, bell: make(chan struct{}, 1), busy: make(chan struct{}, 1), record: r, supersede: func(*supersededError) {}}
	t.safeUntil(r)
	return t
}

func (t *tenure) safeUntil(r lease.Record) { t.until.Store(int64(r.Renewed + r.Sure)) }

// ownsPort notes that the cluster's port is this leader's now.
func (t *tenure) ownsPort() {
	if t == nil {
		return
	}
	t.busy <- struct{}{}
	t.record.OwnsPort, t.record.Ousted, t.record.Owner = true, lease.Holder{}, lease.Holder{}
	<-t.busy
	t.ring()
}

// endsBy makes supersede what ends the leadership when somebody takes over.
func (t *tenure) endsBy(supersede func(*supersededError)) {
	t.busy <- struct{}{}
	defer func() { <-t.busy }()
	t.supersede = supersede
}

// handOver makes the loop of the leader, which there is now, the one that
// rings.
func (t *tenure) handOver() {
	if t != nil {
		t.led.Store(true)
	}
}

// ring makes run renew the lease.
func (t *tenure) ring() {
	if t == nil {
		return
	}
	select {
	case t.bell <- struct{}{}:
	default:
	}
}

// run renews the lease, whenever the leader's loop rings, until ctx ends.
// While the upstream is being opened there is no leader, and run rings itself.
// Renewing has a goroutine of its own so that a slow disk does not make the
// leader look hung.
func (t *tenure) run(ctx context.Context, term func() uint64) {
	if t == nil {
		return
	}
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if t.led.Load() {
				continue
			}
		case <-t.bell:
		case <-ctx.Done():
			return
		}
		if err := t.renew(term()); err != nil && !errors.Is(err, errSuperseded) {
			if times, due := t.c.repeats.Due("lease"); due {
				t.c.log.Warn("lease not renewed, trying again", "error", err, "times", times)
			}
		}
	}
}

// mayAct returns why somebody else may be leading. For a while after the lease
// was renewed nobody can, and nothing is asked of the disk.
func (t *tenure) mayAct() error {
	if t == nil || int64(t.c.lease.Host().Now()) < t.until.Load() {
		return nil
	}
	return t.renew(0)
}

// renew renews the lease in the term given, if that has grown. When another
// process has taken it over, the leadership ends.
func (t *tenure) renew(term uint64) error {
	if t == nil {
		return nil
	}
	t.busy <- struct{}{}
	defer func() { <-t.busy }()
	if t.released {
		return errSuperseded
	}
	next := t.record
	next.Term = max(next.Term, term)
	renewed, err := t.c.lease.Renew(next)
	switch {
	case err == nil:
		t.record, t.lost = renewed, nil
		t.safeUntil(renewed)
	case errors.Is(err, lease.ErrSuperseded):
		t.released = true
		t.end()
		return errSuperseded
	case unwritable(err):
		// Nobody can take over by a lease either.
		if t.lost == nil {
			t.c.log.Warn("the lease cannot be written by anybody, leading without", "error", err)
		}
		t.lost = err
		return nil
	}
	return err
}

// unwritable reports whether err says that a directory is gone, or takes no
// file, for all processes of the user. It is not so with what only this one
// may lack, as descriptors.
func unwritable(err error) bool {
	for _, all := range []error{fs.ErrNotExist, fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, all) {
			return true
		}
	}
	return false
}

// end ends the leadership in favour of the one that the lease tells of.
func (t *tenure) end() {
	why := &supersededError{term: t.record.Term + 1}
	if r, err := t.c.lease.Read(); err == nil {
		why.term, why.deposedBy = max(why.term, r.Term), r.DeposedBy
		if id, err := hex.DecodeString(r.Instance); err == nil {
			t.c.term.saw(why.term, id)
		}
	}
	t.supersede(why)
}

// release lets the next leader begin at once. It is idempotent.
func (t *tenure) release() {
	if t == nil {
		return
	}
	t.busy <- struct{}{}
	defer func() { <-t.busy }()
	if t.released {
		return
	}
	t.released = true
	if err := t.c.lease.Release(t.record); err != nil {
		t.c.log.Debug("lease not released", "error", err)
	}
}
