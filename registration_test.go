package clusterclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// grace is how long a registration outlives its owner.
const grace = 3 * time.Second

// registered returns what is registered upstream, by key.
func registered(up *clustertest.Upstream) map[string]string {
	all := make(map[string]string)
	for _, r := range up.Registrations() {
		all[r.Key] += string(r.Data)
	}
	return all
}

func mustRegister(t *testing.T, c interface {
	Register(context.Context, string, []byte) (*follower.Registration, error)
}, key, data string,
) *follower.Registration {
	t.Helper()
	r, err := c.Register(t.Context(), key, []byte(data))
	require.NoError(t, err, "Register(%q)", key)
	return r
}

func TestRegister(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		r := mustRegister(t, e.Client, "a", "1")
		other := mustRegister(t, e.Client, "b", "2")
		require.Equal(t, map[string]string{"a": "1", "b": "2"}, registered(e.Up), "registered")
		require.Equal(t, 2, e.Client.Status().Registrations, "registrations in the status")
		require.NoError(t, r.Update(t.Context(), []byte("3")))
		require.Equal(t, map[string]string{"a": "3", "b": "2"}, registered(e.Up), "registered after the update")
		require.NoError(t, r.Close())
		require.Equal(t, map[string]string{"b": "2"}, registered(e.Up), "registered after Close")
		require.NoError(t, r.Close(), "closed again")
		require.ErrorIs(t, r.Update(t.Context(), []byte("4")), clusterclient.ErrClosed)

		again := mustRegister(t, e.Client, "b", "4")
		require.Equal(t, 2, len(e.Up.Registrations()), "two registrations under one key")
		require.NoError(t, other.Close())
		require.Equal(t, map[string]string{"b": "4"}, registered(e.Up), "registered after one of two was closed")
		require.NoError(t, again.Close())
		require.Empty(t, registered(e.Up), "registered at the end")
		require.Zero(t, e.Client.Status().Registrations, "registrations in the status at the end")
	})
}

func TestRegisterFails(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		r := mustRegister(t, e.Client, "a", "1")
		e.Up.FailRegister(status.Error(codes.PermissionDenied, "not you"))
		_, err := e.Client.Register(t.Context(), "b", []byte("2"))
		require.Equal(t, codes.PermissionDenied, status.Code(err), "Register: %v", err)
		require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		err = r.Update(t.Context(), []byte("2"))
		require.Equal(t, codes.PermissionDenied, status.Code(err), "Update: %v", err)
		err = r.Close()
		require.Equal(t, codes.PermissionDenied, status.Code(err), "Close: %v", err)
		require.Equal(t, map[string]string{"a": "1"}, registered(e.Up), "registered while everything fails")
		e.Up.FailRegister(nil)
		require.NoError(t, r.Close(), "Close, tried again")
		synctest.Wait()
		require.Empty(t, registered(e.Up), "registered at the end")
	})
}

// TestFailedRegistrationHoldsNothingUp lets the upstream refuse to register, and
// to take that back. Nobody can know that it has not got it, so that is tried
// again; and a next leader need not wait for it to be announced.
func TestFailedRegistrationHoldsNothingUp(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leader, survivor, dying := cluster.Start(), cluster.Start(), cluster.Start()
		mustRegister(t, dying, "dead", "1")
		up.FailRegister(status.Error(codes.Unavailable, "not now"))
		_, err := survivor.Register(t.Context(), "failed", []byte("1"))
		require.Equal(t, codes.Unavailable, status.Code(err), "Register: %v", err)
		synctest.Wait()

		leader.Kill()
		dying.Kill()
		up.FailRegister(nil)
		time.Sleep(4 * time.Second)
		require.Empty(t, registered(up), "registered after the grace")
		for _, e := range up.RegistrationHistory() {
			if e.Key == "failed" {
				return
			}
		}
		require.Fail(t, "not taken back")
	})
}

// TestRegistrationEndsWithItsClient closes the client of a registration.
func TestRegistrationEndsWithItsClient(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		mustRegister(t, e.Client, "a", "1")
		began := time.Now()
		require.NoError(t, e.Client.Close())
		require.Empty(t, registered(e.Up), "registered after Close")
		require.Zero(t, time.Since(began), "time that Close took")
	})
}

// TestRegistrationsEndWithTheirProcess kills the one that registered, in either
// role, and the leader together with it.
func TestRegistrationsEndWithTheirProcess(t *testing.T) {
	tests := []struct {
		name        string
		owner, dies int // 0 leads
	}{
		{"the leader", 0, 0},
		{"a follower", 1, 1},
		{"a follower together with the leader", 1, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				nodes := []*clustertest.Node{cluster.Start(), cluster.Start(), cluster.Start()}
				mustRegister(t, nodes[test.owner], "dead", "1")
				mustRegister(t, nodes[2], "alive", "2")
				synctest.Wait()
				nodes[test.dies].Kill()
				if test.owner != test.dies {
					nodes[test.owner].Kill()
				}
				synctest.Wait()
				both := map[string]string{"dead": "1", "alive": "2"}
				for began := time.Now(); time.Since(began) < grace; time.Sleep(10 * time.Millisecond) {
					require.Equal(t, both, registered(up), "registered %v after the kill", time.Since(began))
				}
				time.Sleep(time.Second)
				require.Equal(t, map[string]string{"alive": "2"}, registered(up), "registered after the grace and a second")
				time.Sleep(longEnough)
				require.Equal(t, map[string]string{"alive": "2"}, registered(up), "registered long after")
			})
		})
	}
}

// TestRegistrationOutlivesLeaders kills one leader after the other.
func TestRegistrationOutlivesLeaders(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		owner := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		mustRegister(t, owner, "a", "1")
		for range 3 {
			cluster.Start()
			first.Kill()
			for range 500 {
				time.Sleep(10 * time.Millisecond)
				require.Equal(t, map[string]string{"a": "1"}, registered(up))
			}
			first = cluster.Leader()
			require.NotNil(t, first, "leader 5 s after the one before was killed")
		}
		for _, ev := range up.RegistrationHistory() {
			require.True(t, ev.Registered, "it was withdrawn meanwhile")
		}
	})
}

// TestRegistrationIsReplayedOnce updates five times, then changes the leader.
func TestRegistrationIsReplayedOnce(t *testing.T) {
	leave := map[string]func(*clustertest.Node){
		"killed": (*clustertest.Node).Kill,
		"closed": func(n *clustertest.Node) { _ = n.Close() },
	}
	for name, leave := range leave {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				first, owner := cluster.Start(), cluster.Start()
				cluster.Start()
				r := mustRegister(t, owner, "a", "0")
				for _, data := range []string{"1", "2", "3", "4", "5"} {
					require.NoError(t, r.Update(t.Context(), []byte(data)))
				}
				before := len(up.RegistrationHistory())
				leave(first)
				time.Sleep(longEnough)
				replayed := up.RegistrationHistory()[before:]
				require.Len(t, replayed, 1, "what the upstream was told after the takeover")
				require.True(t, replayed[0].Registered)
				require.Equal(t, "5", string(replayed[0].Data), "what was announced again")
				require.NoError(t, r.Update(t.Context(), []byte("6")))
				require.Equal(t, map[string]string{"a": "6"}, registered(up))
			})
		})
	}
}

// TestRegistrationReplayIsTriedAgain has an upstream that refuses after the
// takeover.
func TestRegistrationReplayIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, owner := cluster.Start(), cluster.Start()
		mustRegister(t, owner, "a", "1")
		before := len(up.RegistrationHistory())
		up.FailRegister(errors.New("not yet"))
		first.Kill()
		time.Sleep(10 * time.Second)
		up.FailRegister(nil)
		time.Sleep(longEnough)
		require.Len(t, up.RegistrationHistory()[before:], 1, "what the upstream was told after the takeover")
		require.Equal(t, map[string]string{"a": "1"}, registered(up))
	})
}

func TestRegisterWaitsForLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		owner := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		first.Kill()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := owner.Register(ctx, "a", []byte("1"))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cluster.Start()
		mustRegister(t, owner, "b", "1")
		time.Sleep(longEnough)
		require.Equal(t, map[string]string{"b": "1"}, registered(up), "registered at the end")
	})
}

// TestRegistrationWhoseReplayIsRefused checks that nothing waits for a replay
// longer than its caller wants.
func TestRegistrationWhoseReplayIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		cluster.Start()
		owner := cluster.Start()
		r := mustRegister(t, owner, "a", "1")
		up.FailRegister(errors.New("not now"))
		first.Kill()
		time.Sleep(10 * time.Second)

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, r.Update(ctx, []byte("2")), "not now")
		require.ErrorContains(t, r.Close(), "not now")
		require.NoError(t, owner.Close())
		require.Zero(t, time.Since(began), "time that all of it took")
	})
}

// TestRegistrationKeepsWhatItWasGiven changes the bytes after Register.
func TestRegistrationKeepsWhatItWasGiven(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, owner := cluster.Start(), cluster.Start()
		data := []byte("1")
		r, err := owner.Register(t.Context(), "a", data)
		require.NoError(t, err)
		data[0] = 'x'
		first.Kill()
		time.Sleep(longEnough)
		require.Equal(t, map[string]string{"a": "1"}, registered(up), "registered after the takeover")
		require.NoError(t, r.Close())
	})
}
