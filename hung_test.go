package clusterclient_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// A leader that is stopped keeps its port and its connections. Its values turn
// stale, another process takes its place, everybody finds that one, and the
// stopped one follows it when it goes on.
func TestLeaderHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b, c := cluster.Start(), cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		there := mustSubscribe(t, c, "k")
		mustYield(t, there, "one")
		here := mustSubscribe(t, a, "k")
		mustYield(t, here, "one")

		a.Freeze()
		time.Sleep(4 * time.Second)
		require.ErrorIs(t, mustBeStale(t, there).Reason, clusterclient.ErrNoLeader)
		require.ErrorContains(t, mustBeStale(t, there).Reason, "is silent")
		require.Equal(t, clusterclient.RoleFollower, b.Role(), "deposed too soon")
		time.Sleep(7500 * time.Millisecond)
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
		require.NotEqual(t, portAddress, b.Status().LeaderAddress)
		time.Sleep(time.Second)
		require.EqualValues(t, 2, c.Status().Term)
		require.Equal(t, b.Status().LeaderAddress, c.Status().LeaderAddress)
		mustBeFresh(t, there)
		up.Set("k", "two")
		mustYield(t, there, "two")

		began := time.Now()
		d := cluster.Start()
		require.Zero(t, time.Since(began), "time that a newcomer took to find the new leader")
		require.EqualValues(t, 2, d.Status().Term)

		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)
		require.EqualValues(t, 2, a.Status().Term)
		mustYield(t, here, "two")
		require.Equal(t, 1, up.Connections())
		require.Equal(t, 1, up.Watches("k"))

		time.Sleep(2 * time.Second) // the port is taken back
		e := cluster.Start(clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
		require.EqualValues(t, 2, e.Status().Term, "found through the port alone")
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		mustStayQuiet(t, there)
	})
}

// It is the same with calls under way, and nothing that the old leader does
// when it wakes has an effect.
func TestLeaderHangsWithCallsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "work", func(context.Context, []byte) ([]byte, error) { return []byte("done"), nil })
			leader.Handle(r, "again", func(context.Context, []byte) ([]byte, error) { return []byte("done"), nil }, leader.Idempotent())
		}
		a, b, c := cluster.Start(), cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		a.Freeze()
		work, again := make(chan error, 1), make(chan error, 1)
		began := time.Now()
		go func() { work <- c.Invoke(t.Context(), "work", []byte("x"), nil) }()
		go func() { again <- c.Invoke(t.Context(), "again", []byte("x"), nil) }()
		require.NoError(t, <-again, "the next leader answers it")
		require.ErrorIs(t, <-work, clusterclient.ErrOutcomeUnknown)
		require.Less(t, time.Since(began), 12500*time.Millisecond)
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.NoError(t, c.Publish(t.Context(), "k", []byte("of term 2")))

		// What the old leader's own process asks of it is not done by it.
		published := make(chan error, 1)
		go func() { published <- a.Publish(t.Context(), "own", []byte("v")) }()
		synctest.Wait()
		_, stored := up.Value("own")
		require.False(t, stored, "a leader that was deposed has written")
		a.Thaw()
		require.NoError(t, <-published)
		require.Equal(t, clusterclient.RoleFollower, a.Role())
		require.EqualValues(t, 2, a.Status().Term)
	})
}

// Whoever gives up while the leader hangs is told that it does.
func TestCallGivenUpWhileTheLeaderHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		a.Freeze()
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error { return b.Invoke(ctx, "work", []byte("x"), nil) },
			func(ctx context.Context) error { return b.Publish(ctx, "k", []byte("x")) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			err := call(ctx)
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, fmt.Sprintf("while waiting: the leader, pid %d at %s, was heard last ", os.Getpid(), portAddress))
		}
		a.Thaw()
	})
}

// A leader beside the port hangs: its name moves, the port does not.
func TestLeaderBesideThePortHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		owner := cluster.Start()
		a, b := mustStart(t, cluster, "other", up), mustStart(t, cluster, "other", up)
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		a.Freeze()
		time.Sleep(13 * time.Second)
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
		require.EqualValues(t, 1, owner.Status().Term)
		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)
		require.EqualValues(t, 2, mustStart(t, cluster, "other", up).Status().Term)
	})
}

// The owner of the port hangs, and nobody leads the name that a newcomer wants.
func TestOwnerOfThePortHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		owner := cluster.Start()
		other, err := cluster.TryStart("other")
		require.NoError(t, err)
		owner.Freeze()
		time.Sleep(time.Minute)
		follows, err := cluster.TryStart("other")
		require.NoError(t, err)
		require.Equal(t, clusterclient.RoleFollower, follows.Role())
		require.EqualValues(t, 1, other.Status().Term, "a name whose leader is well")
		third, err := cluster.TryStart("third")
		require.NoError(t, err)
		require.Equal(t, clusterclient.RoleLeader, third.Role())
		again := cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, again.Role())
		require.EqualValues(t, 2, again.Status().Term)
		owner.Thaw()
		mustBecome(t, owner, clusterclient.RoleFollower)
	})
}

// Whoever hangs and has the port is remembered, however many have led beside
// it and died since.
func TestOwnerOfThePortHangsForLong(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		owner := cluster.Start()
		owner.Freeze()
		for term := uint64(2); term < 5; term++ {
			n := cluster.Start()
			require.Equal(t, clusterclient.RoleLeader, n.Role())
			require.Equal(t, term, n.Status().Term)
			n.Kill()
		}
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithRole(clusterclient.FollowerOnly), clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorContains(t, err, "pid 1 at "+portAddress+" holds the port and does not answer")
		owner.Thaw()
		mustBecome(t, owner, clusterclient.RoleLeader)
		require.Equal(t, portAddress, owner.Status().LeaderAddress)
	})
}

// Only newcomers are there to see that the leader hangs.
func TestLeaderHangsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		a.Freeze()
		began := time.Now()
		b := cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
		require.Less(t, time.Since(began), 20*time.Second)
		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)
	})
}

// A newcomer that cannot lead says what it waits for.
func TestLeaderHangsAndNobodyCanLead(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		f := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		a.Freeze()
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithRole(clusterclient.FollowerOnly))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorContains(t, err, "pid 1 at "+portAddress+" holds the port and does not answer, its last sign of life was ")
		time.Sleep(5 * time.Minute)
		a.Thaw()
		mustBecome(t, f, clusterclient.RoleFollower)
		require.EqualValues(t, 1, f.Status().Term)
		require.Equal(t, clusterclient.RoleLeader, a.Role(), "nobody took its place")
		require.NoError(t, f.Publish(t.Context(), "k", []byte("v")))
	})
}

// Two processes may differ in their patience; the longer one counts.
func TestDeposeAfter(t *testing.T) {
	for name, opts := range map[string][2]clusterclient.Option{
		"of the leader":   {clusterclient.WithDeposeAfter(20 * time.Second), clusterclient.WithDeposeAfter(5 * time.Second)},
		"of the follower": {clusterclient.WithDeposeAfter(5 * time.Second), clusterclient.WithDeposeAfter(20 * time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				a, b := cluster.Start(opts[0]), cluster.Start(opts[1])
				a.Freeze()
				time.Sleep(19 * time.Second)
				require.Equal(t, clusterclient.RoleFollower, b.Role())
				time.Sleep(3 * time.Second)
				require.Equal(t, clusterclient.RoleLeader, b.Role())
			})
		})
	}
}

func TestStaleAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		a, b := cluster.Start(), cluster.Start()
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "v")
		a.Freeze()
		time.Sleep(7 * time.Second)
		mustBeStale(t, sub)
		require.True(t, time.Since(mustBeStale(t, sub).Since) < 5*time.Second)
	}, clusterclient.WithStaleAfter(5*time.Second))
}

// Without a directory in common a leader that hangs stays, as the status says.
func TestLeaderHangsWithoutADirectory(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		none := clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir)
		a, b, c := cluster.Start(), cluster.Start(none), cluster.Start()
		require.Empty(t, a.Status().LeaseTrouble)
		require.Empty(t, c.Status().LeaseTrouble)
		require.Equal(t, "switched off", b.Status().LeaseTrouble)
		a.Kill()
		time.Sleep(time.Second)
		if c.Role() == clusterclient.RoleLeader {
			require.NoError(t, c.Resign(t.Context()))
		}
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.Equal(t, "the leader holds no lease in the directory of this process", c.Status().LeaseTrouble)
		sub := mustSubscribe(t, c, "k")
		mustYield(t, sub, "v")
		term := b.Status().Term
		b.Freeze()
		time.Sleep(25 * time.Second)
		require.Equal(t, clusterclient.RoleFollower, c.Role())
		mustBeStale(t, sub)
		b.Thaw()
		time.Sleep(2 * time.Second)
		mustBeFresh(t, sub)
		require.Equal(t, term, c.Status().Term)
	})
}

// A leader that cannot renew its lease but is heard of is not deposed, and one
// whose directory has gone goes on.
func TestLeaseDirectoryVanishes(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		require.NoError(t, os.RemoveAll(cluster.Network.Dir))
		time.Sleep(time.Minute)
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		require.Equal(t, clusterclient.RoleFollower, b.Role())
		require.NoError(t, b.Publish(t.Context(), "k", []byte("v")))
		require.NotEmpty(t, b.Status().LeaseTrouble)
		require.NoError(t, os.Mkdir(cluster.Network.Dir, 0o700))
		time.Sleep(2 * time.Second)
		require.Empty(t, b.Status().LeaseTrouble)
		a.Freeze()
		time.Sleep(13 * time.Second)
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
	})
}

// A term is that of one leadership, although nobody followed in it.
func TestTermsAreNotUsedTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		for term := range uint64(5) {
			n := cluster.Start()
			require.Equal(t, term+1, n.Status().Term)
			if term%2 == 0 {
				n.Kill()
			} else {
				require.NoError(t, n.Close())
			}
		}
	})
}

// A newcomer that gets the port does not lead beside a leader that outlived
// the port's owner.
func TestNewcomerGetsThePort(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		owner := cluster.Start()
		b, err := cluster.TryStart("other")
		require.NoError(t, err)
		opens := up.Opens()
		owner.Kill()
		c, err := cluster.TryStart("other")
		require.NoError(t, err)
		require.Equal(t, clusterclient.RoleFollower, c.Role())
		require.EqualValues(t, 1, b.Status().Term)
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.Equal(t, opens, up.Opens(), "upstreams opened")
		d := cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, d.Role())
		require.EqualValues(t, 2, d.Status().Term)
	})
}
