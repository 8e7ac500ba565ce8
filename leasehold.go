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

// A leaseHold is one leadership's hold on the lease of its name. It is renewed
// while the leader's own loop runs, and looked at before the leader acts. A
// nil one is that of a leadership without a lease.
type leaseHold struct {
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

func (c *Client) newLeaseHold(r lease.Record) *leaseHold {
	t := &leaseHold{c: c, bell: make(chan struct{}, 1), busy: make(chan struct{}, 1), record: r, supersede: func(*supersededError) {}}
	t.safeUntil(r)
	return t
}

func (h *leaseHold) safeUntil(r lease.Record) { h.until.Store(int64(r.Renewed + r.Sure)) }

// ownsPort notes that the cluster's port is this leader's now.
func (h *leaseHold) ownsPort() {
	if h == nil {
		return
	}
	h.busy <- struct{}{}
	h.record.OwnsPort, h.record.Ousted, h.record.Owner = true, lease.Holder{}, lease.Holder{}
	<-h.busy
	h.ring()
}

// endsBy makes supersede what ends the leadership when somebody takes over.
func (h *leaseHold) endsBy(supersede func(*supersededError)) {
	h.busy <- struct{}{}
	defer func() { <-h.busy }()
	h.supersede = supersede
}

// handOver makes the loop of the leader, which there is now, the one that
// rings.
func (h *leaseHold) handOver() {
	if h != nil {
		h.led.Store(true)
	}
}

// ring makes run renew the lease.
func (h *leaseHold) ring() {
	if h == nil {
		return
	}
	select {
	case h.bell <- struct{}{}:
	default:
	}
}

// run renews the lease, whenever the leader's loop rings, until ctx ends.
// While the upstream is being opened there is no leader, and run rings itself.
// Renewing has a goroutine of its own so that a slow disk does not make the
// leader look hung.
func (h *leaseHold) run(ctx context.Context, term func() uint64) {
	if h == nil {
		return
	}
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if h.led.Load() {
				continue
			}
		case <-h.bell:
		case <-ctx.Done():
			return
		}
		if err := h.renew(term()); err != nil && !errors.Is(err, errSuperseded) {
			if times, due := h.c.repeats.Due("lease"); due {
				h.c.log.Warn("lease not renewed, trying again", "error", err, "times", times)
			}
		}
	}
}

// mayAct returns why somebody else may be leading. For a while after the lease
// was renewed nobody can, and nothing is asked of the disk.
func (h *leaseHold) mayAct() error {
	if h == nil || int64(h.c.lease.Host().Now()) < h.until.Load() {
		return nil
	}
	return h.renew(0)
}

// renew renews the lease in the term given, if that has grown. When another
// process has taken it over, the leadership ends.
func (h *leaseHold) renew(term uint64) error {
	if h == nil {
		return nil
	}
	h.busy <- struct{}{}
	defer func() { <-h.busy }()
	if h.released {
		return errSuperseded
	}
	next := h.record
	next.Term = max(next.Term, term)
	renewed, err := h.c.lease.Renew(next)
	switch {
	case err == nil:
		h.record, h.lost = renewed, nil
		h.safeUntil(renewed)
	case errors.Is(err, lease.ErrSuperseded):
		h.released = true
		h.end()
		return errSuperseded
	case unwritable(err):
		// Nobody can take over by a lease either.
		if h.lost == nil {
			h.c.log.Warn("the lease cannot be written by anybody, leading without", "error", err)
		}
		h.lost = err
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
func (h *leaseHold) end() {
	why := &supersededError{term: h.record.Term + 1}
	if r, err := h.c.lease.Read(); err == nil {
		why.term, why.deposedBy = max(why.term, r.Term), r.DeposedBy
		if id, err := hex.DecodeString(r.Instance); err == nil {
			h.c.term.saw(why.term, id)
		}
	}
	h.supersede(why)
}

// release lets the next leader begin at once. It is idempotent.
func (h *leaseHold) release() {
	if h == nil {
		return
	}
	h.busy <- struct{}{}
	defer func() { <-h.busy }()
	if h.released {
		return
	}
	h.released = true
	if err := h.c.lease.Release(h.record); err != nil {
		h.c.log.Debug("lease not released", "error", err)
	}
}
