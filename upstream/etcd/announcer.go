package etcd

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// An announcer keeps registrations in etcd. What is wanted is noted first and
// then written, a key at a time, until what is written is what is wanted under
// the present lease; so it does not matter in which order calls, a lost lease
// and answers that never came meet.
type announcer struct {
	u        *Upstream
	granting turn // held while there may be a lease to grant

	mu    sync.Mutex
	lease *lease               // nil before the first and after a loss; guarded by mu
	slots map[string]*slot     // by key; guarded by mu
	where map[identity][]*slot // where a registration is or may still be; guarded by mu
}

// An identity tells registrations apart.
type identity struct {
	instance string
	id       uint64
}

// A slot is a key in etcd and those who want it there.
type slot struct {
	key  string
	turn turn // held by whoever writes the key

	claims []claim // the last one counts; guarded by announcer.mu
	dead   bool    // no longer in slots; guarded by announcer.mu

	leases []clientv3.LeaseID // that the key may be bound to; guarded by turn
}

// A claim is what one registration wants a key to be.
type claim struct {
	by   identity
	data []byte
}

// A turn is a mutex that can be held during I/O, since waiting for it ends
// with a context.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) pass() { <-t }

func newAnnouncer(u *Upstream) *announcer {
	return &announcer{u: u, granting: newTurn(), slots: map[string]*slot{}, where: map[identity][]*slot{}}
}

func (a *announcer) register(ctx context.Context, id identity, key string, data []byte) error {
	a.mu.Lock()
	a.unclaimLocked(id)
	s := a.slots[key]
	if s == nil {
		s = &slot{key: key, turn: newTurn()}
		a.slots[key] = s
	}
	s.claims = append(s.claims, claim{id, data})
	if !slices.Contains(a.where[id], s) {
		a.where[id] = append(a.where[id], s)
	}
	a.mu.Unlock()
	return a.settleAll(ctx, id)
}

func (a *announcer) deregister(ctx context.Context, id identity) error {
	a.mu.Lock()
	a.unclaimLocked(id)
	a.mu.Unlock()
	return a.settleAll(ctx, id)
}

// unclaimLocked takes back what id wants.
func (a *announcer) unclaimLocked(id identity) {
	for _, s := range a.where[id] {
		s.claims = slices.DeleteFunc(s.claims, func(c claim) bool { return c.by == id })
	}
}

// settleAll settles the slots of id: the new one first, so that a
// registration which moves is never absent.
func (a *announcer) settleAll(ctx context.Context, id identity) error {
	a.mu.Lock()
	slots := slices.Clone(a.where[id])
	a.mu.Unlock()
	for _, s := range slices.Backward(slots) {
		if err := a.settle(ctx, s, a.take); err != nil {
			return err
		}
		a.forget(id, s)
	}
	return nil
}

// forget notes that s does not bear id any more, if that is so.
func (a *announcer) forget(id identity, s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.ContainsFunc(s.claims, func(c claim) bool { return c.by == id }) {
		return
	}
	a.where[id] = slices.DeleteFunc(a.where[id], func(t *slot) bool { return t == s })
	if len(a.where[id]) == 0 {
		delete(a.where, id)
	}
}

// settle makes the key in etcd what is wanted, writing it with put under a
// lease that still counts when the write is acknowledged.
func (a *announcer) settle(ctx context.Context, s *slot, put func(context.Context, *slot, clientv3.Op) error) error {
	if err := s.turn.take(ctx); err != nil {
		return err
	}
	defer s.turn.pass()
	for {
		if err := context.Cause(a.u.life); err != nil {
			return err
		}
		data, ok := a.wanted(s)
		if !ok {
			return a.withdraw(ctx, s)
		}
		l, err := a.present(ctx)
		if err != nil {
			return err
		}
		s.leases = append(s.leases, l.id)
		err = put(ctx, s, clientv3.OpPut(s.key, string(data), clientv3.WithLease(l.id)))
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			a.drop(l)
		case err != nil:
			return err
		case a.holds(l):
			return nil
		}
	}
}

// wanted returns what s is to be, if it is to be at all.
func (a *announcer) wanted(s *slot) (data []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(s.claims) == 0 {
		return nil, false
	}
	return s.claims[len(s.claims)-1].data, true
}

// take writes the key whoever has it: a registration that is made now is news.
func (a *announcer) take(ctx context.Context, s *slot, put clientv3.Op) error {
	if _, err := a.u.client.Do(ctx, put); err != nil {
		return err
	}
	s.leases = s.leases[len(s.leases)-1:]
	return nil
}

// withdraw deletes the key if it is ours and buries its slot.
func (a *announcer) withdraw(ctx context.Context, s *slot) error {
	a.mu.Lock()
	dead := s.dead
	a.mu.Unlock()
	if dead {
		return nil
	}
	if len(s.leases) > 0 { // else it was never written
		if err := a.change(ctx, s, clientv3.OpDelete(s.key)); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(s.claims) == 0 {
		s.dead = true
		delete(a.slots, s.key)
	}
	return nil
}

// change does op, unless somebody else has written the key, such as the next
// leader while this one was held up. s.leases is not empty.
func (a *announcer) change(ctx context.Context, s *slot, op clientv3.Op) error {
	for {
		resp, err := a.u.client.Get(ctx, s.key)
		if err != nil {
			return err
		}
		var revision int64 // of a key that does not exist
		if len(resp.Kvs) > 0 {
			if !slices.Contains(s.leases, clientv3.LeaseID(resp.Kvs[0].Lease)) {
				return nil
			}
			revision = resp.Kvs[0].ModRevision
		}
		unchanged := clientv3.Compare(clientv3.ModRevision(s.key), "=", revision)
		txn, err := a.u.client.Txn(ctx).If(unchanged).Then(op).Commit()
		if err != nil {
			return err
		}
		if txn.Succeeded {
			s.leases = s.leases[len(s.leases)-1:]
			return nil
		}
	}
}
