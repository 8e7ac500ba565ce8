package etcd

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A lease is what keys are bound to. Each has a stream of its own to be kept
// alive on, since etcd's client gives such a stream up for good after some
// errors.
type lease struct {
	id     clientv3.LeaseID
	lessor clientv3.Lease
	stop   context.CancelFunc // ends keeping it alive
}

// present returns the lease that counts, which it grants if there is none.
func (a *announcer) present(ctx context.Context) (*lease, error) {
	if err := a.granting.take(ctx); err != nil {
		return nil, err
	}
	defer a.granting.pass()
	a.mu.Lock()
	l := a.lease
	a.mu.Unlock()
	if l != nil {
		return l, nil
	}
	return a.grant(ctx)
}

func (a *announcer) grant(ctx context.Context) (*lease, error) {
	lessor := clientv3.NewLease(a.u.client)
	ttl := (a.u.opts.leaseTTL + time.Second - 1) / time.Second
	granted, err := lessor.Grant(ctx, int64(ttl))
	if err != nil {
		return nil, errors.Join(err, lessor.Close())
	}
	life, stop := context.WithCancel(a.u.life)
	l := &lease{id: granted.ID, lessor: lessor, stop: stop}
	alive, err := lessor.KeepAlive(life, l.id)
	if err == nil {
		err = a.u.spawn(func() { a.keep(l, alive) })
	}
	if err != nil {
		stop()
		return nil, errors.Join(err, lessor.Close())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lease = l
	return l, nil
}

// keep waits until l is lost and then brings the keys under the next lease.
func (a *announcer) keep(l *lease, alive <-chan *clientv3.LeaseKeepAliveResponse) {
	for range alive {
	}
	a.drop(l)
	// Not an error that matters: it says that the stream has ended.
	_ = l.lessor.Close()
	for a.u.life.Err() == nil && a.restore() != nil {
		pause(a.u.life, a.u.pace.retry)
	}
}

// drop makes l count no more.
func (a *announcer) drop(l *lease) {
	l.stop()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lease == l {
		a.lease = nil
	}
}

func (a *announcer) holds(l *lease) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lease == l
}

// restore writes every key again that nobody else has written.
func (a *announcer) restore() error {
	ctx, cancel := context.WithTimeout(a.u.life, a.u.opts.leaseTTL)
	defer cancel()
	a.mu.Lock()
	slots := make([]*slot, 0, len(a.slots))
	for _, s := range a.slots {
		slots = append(slots, s)
	}
	a.mu.Unlock()
	for _, s := range slots {
		if err := a.settle(ctx, s, a.change); err != nil {
			return err
		}
	}
	return nil
}
