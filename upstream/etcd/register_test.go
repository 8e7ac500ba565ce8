package etcd_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

func registration(owner string, key, data string) leader.Registration {
	return leader.Registration{Owner: leader.Peer{Instance: owner}, ID: 1, Key: key, Data: []byte(data)}
}

// newRegistrar returns an Upstream that is quick to try again.
func newRegistrar(t *testing.T, s *server) *etcd.Upstream {
	t.Helper()
	up := etcd.NewPaced(s.client(), time.Hour, time.Second, etcd.WithLeaseTTL(leaseTTL))
	t.Cleanup(func() { require.NoError(t, up.Close()) })
	return up
}

// value returns what key is and the lease that it is bound to.
func (s *server) value(key string) (string, clientv3.LeaseID) {
	s.t.Helper()
	resp, err := s.side.Get(context.WithoutCancel(s.t.Context()), key)
	require.NoError(s.t, err)
	if len(resp.Kvs) == 0 {
		return "absent", 0
	}
	return string(resp.Kvs[0].Value), clientv3.LeaseID(resp.Kvs[0].Lease)
}

func (s *server) is(key, want string) {
	s.t.Helper()
	have, _ := s.value(key)
	require.Equal(s.t, want, have, "value of %q", key)
}

func (s *server) becomes(key, want string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		have, _ := s.value(key)
		return have == want
	}, soon, 10*time.Millisecond, "%q does not become %q", key, want)
}

// revoke takes the lease of key away, and with it all keys bound to it.
func (s *server) revoke(key string) clientv3.LeaseID {
	s.t.Helper()
	_, id := s.value(key)
	require.NotZero(s.t, id, "lease of %q", key)
	_, err := s.side.Revoke(s.t.Context(), id)
	require.NoError(s.t, err)
	return id
}

func TestLeaseIsShared(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			key := fmt.Sprint("key-", n)
			if err := up.Register(t.Context(), registration(key, key, "here")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	leases, err := s.side.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, leases.Leases, 1)
}

func TestLeaseLost(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	one, two, gone := registration("a", "one", "1"), registration("b", "two", "2"), registration("c", "gone", "3")
	for _, r := range []leader.Registration{one, two, gone} {
		require.NoError(t, up.Register(t.Context(), r))
	}
	require.NoError(t, up.Deregister(t.Context(), gone))

	lost := s.revoke("one")
	s.becomes("one", "1")
	s.becomes("two", "2")
	s.is("gone", "absent")
	_, lease := s.value("one")
	require.NotEqual(t, lost, lease)

	require.NoError(t, up.Deregister(t.Context(), one))
	s.is("one", "absent")
	s.is("two", "2")
}

// TestRegisterFindsLeaseLost registers before the adapter can have noticed
// that the lease is gone; the others must come back too.
func TestRegisterFindsLeaseLost(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	require.NoError(t, up.Register(t.Context(), registration("a", "one", "1")))
	s.revoke("one")
	require.NoError(t, up.Register(t.Context(), registration("b", "two", "2")))
	s.is("two", "2")
	s.becomes("one", "1")
}

// TestHeldUp is a leader that wakes up when its keys have a new holder.
func TestHeldUp(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	taken, free := registration("a", "taken", "old"), registration("b", "free", "mine")
	require.NoError(t, up.Register(t.Context(), taken))
	require.NoError(t, up.Register(t.Context(), free))

	_, err := s.side.Put(t.Context(), "taken", "new") // and not bound to the lease any more
	require.NoError(t, err)
	s.revoke("free")
	s.becomes("free", "mine")
	require.NoError(t, up.Register(t.Context(), free)) // after what was restored with it
	s.is("taken", "new")

	require.NoError(t, up.Deregister(t.Context(), taken))
	s.is("taken", "new")
}

func TestRegisterTakesOver(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	_, err := s.side.Put(t.Context(), "key", "old")
	require.NoError(t, err)
	r := registration("a", "key", "mine")
	require.NoError(t, up.Register(t.Context(), r))
	s.is("key", "mine")
	require.NoError(t, up.Deregister(t.Context(), r))
	s.is("key", "absent")
}

func TestSharedKey(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	one, two := registration("a", "key", "1"), registration("b", "key", "2")
	require.NoError(t, up.Register(t.Context(), one))
	require.NoError(t, up.Register(t.Context(), two))
	s.is("key", "2")
	require.NoError(t, up.Deregister(t.Context(), two))
	s.is("key", "1")
	require.NoError(t, up.Deregister(t.Context(), one))
	s.is("key", "absent")
}

// TestDeregisterAgain fails while etcd is away and is made up for later.
func TestDeregisterAgain(t *testing.T) {
	s := newServer(t)
	up := newRegistrar(t, s)
	r := registration("a", "key", "1")
	require.NoError(t, up.Register(t.Context(), r))
	require.NoError(t, s.Stop(t.Context()))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, up.Deregister(ctx, r), `etcd: deregister "key": `)
	require.NoError(t, s.Start(t.Context()))
	s.is("key", "1")
	require.NoError(t, up.Deregister(t.Context(), r))
	s.is("key", "absent")
}

func TestRegisterAfterClose(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	r := registration("a", "key", "1")
	require.NoError(t, up.Register(t.Context(), r))
	require.NoError(t, up.Close())
	require.EqualError(t, up.Register(t.Context(), r), `etcd: register "key": closed`)
	require.EqualError(t, up.Deregister(t.Context(), r), `etcd: deregister "key": closed`)
	s.is("key", "1")
}
