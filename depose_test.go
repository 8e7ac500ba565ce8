package clusterclient_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
)

// depose is what clusterctl depose does, in a process of its own.
func depose(t *testing.T, cluster *clustertest.Cluster, name string) (term uint64, err error) {
	return clusterclient.ResignAt(t.Context(), name, clustertest.Port, true, clusterclient.WithNetwork(cluster.Network.Host()))
}

// An operator does not wait for the followers' patience.
func TestDeposeALeaderThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b, c := cluster.Start(), cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		here, there := mustSubscribe(t, a, "k"), mustSubscribe(t, c, "k")
		mustYield(t, here, "one")
		mustYield(t, there, "one")
		a.Freeze()
		began := time.Now()
		term, err := depose(t, cluster, clustertest.Name)
		require.NoError(t, err)
		require.EqualValues(t, 1, term)
		mustBecome(t, b, clusterclient.RoleLeader)
		require.Less(t, time.Since(began), 7*time.Second, "with a patience of a minute")
		next := b.Status().Term
		require.Greater(t, next, uint64(2), "the term in which nobody leads is nobody's")
		mustFollow(t, c, next)
		up.Set("k", "two")
		mustYield(t, there, "two")

		// What the one that was deposed is asked to do is not done by it.
		published := make(chan error, 1)
		go func() { published <- a.Publish(t.Context(), "own", []byte("v")) }()
		synctest.Wait()
		_, stored := up.Value("own")
		require.False(t, stored, "a leader that was deposed has written")
		a.Thaw()
		require.NoError(t, <-published)
		mustBecome(t, a, clusterclient.RoleFollower)
		require.Equal(t, next, a.Status().Term)
		require.Contains(t, a.Stats().Terms[0].Reason, "elsewhere")
		mustYield(t, here, "two")
		require.Equal(t, 1, up.Connections())
		require.Equal(t, clusterclient.RoleLeader, b.Role())
	}, clusterclient.WithDeposeAfter(time.Minute))
}

// mustFollow waits until a node follows in a term.
func mustFollow(t *testing.T, n *clustertest.Node, term uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for st := range n.StatusChanges(ctx) {
		if st.Role == clusterclient.RoleFollower && st.Term == term {
			return
		}
	}
	t.Fatalf("the node does not follow in term %d: %+v", term, n.Status())
}

// A leader acts without looking at its lease for a while after it has renewed
// it. Nobody deposes it before that is over.
func TestDeposeWaitsUntilTheLeaderLooks(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		a.Freeze()
		deposed := make(chan error, 1)
		go func() {
			_, err := depose(t, cluster, clustertest.Name)
			deposed <- err
		}()
		time.Sleep(3900 * time.Millisecond)
		a.Thaw() // and renews its lease
		require.ErrorContains(t, <-deposed, "it has renewed its lease meanwhile")
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		require.EqualValues(t, 1, b.Status().Term)
		require.NoError(t, b.Publish(t.Context(), "k", []byte("v")))
	})
}

// A leader that is only not heard by the operator stays.
func TestDeposeALeaderThatIsWell(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		cannotHear := clusterclient.WithNetwork(&deaf{cluster.Network.Host(), portAddress})
		_, err := clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, true, cannotHear)
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorContains(t, err, "does not hang")
		_, err = clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, false, cannotHear)
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		time.Sleep(time.Minute)
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		require.EqualValues(t, 1, b.Status().Term)
	})
}

// Nobody else could lead: the one that was deposed leads again when it goes on,
// in another term.
func TestDeposeWithoutASuccessor(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, f := cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		a.Freeze()
		for range 2 { // again: it is deposed already
			term, err := depose(t, cluster, clustertest.Name)
			require.NoError(t, err)
			require.EqualValues(t, 1, term)
		}
		report, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, clusterclient.WithNetwork(cluster.Network.Host()))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.Len(t, report.Names, 1)
		require.Equal(t, inspect.Vacant, report.Names[0].State)
		require.Equal(t, inspect.Deposed, report.Names[0].Lease.State)
		require.Equal(t, 1, report.Names[0].Leader.PID)
		time.Sleep(time.Minute)
		a.Thaw()
		mustBecome(t, f, clusterclient.RoleFollower)
		mustFollow(t, f, 3)
		require.Equal(t, clusterclient.RoleLeader, a.Role())
	})
}

// A newcomer takes the place of a leader that was deposed at once.
func TestDeposeBeforeANewcomer(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		a.Freeze()
		_, err := depose(t, cluster, clustertest.Name)
		require.NoError(t, err)
		began := time.Now()
		b := cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.Less(t, time.Since(began), 6*time.Second)
		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)
	}, clusterclient.WithDeposeAfter(20*time.Second))
}

// A leader beside the port hangs, and a leader beside a port whose owner hangs
// is asked where the lease says.
func TestDeposeBesideThePort(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		owner := cluster.Start()
		a, b := mustStart(t, cluster, "other", up), mustStart(t, cluster, "other", up)
		synctest.Wait() // the owner of the port knows where that is led
		a.Freeze()
		_, err := depose(t, cluster, "other")
		require.NoError(t, err)
		mustBecome(t, b, clusterclient.RoleLeader)
		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)

		owner.Freeze()
		began := time.Now()
		_, err = depose(t, cluster, "other")
		owner.Thaw()
		require.NoError(t, err)
		require.Zero(t, time.Since(began), "the leader was found by its lease, and answered")
	})
}

// The port is held by a process that hangs, and whose own name is led
// elsewhere meanwhile. It is not taken for a stranger.
func TestNewcomerWhileThePortIsHeldByOneThatWasReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		a.Freeze()
		mustBecome(t, b, clusterclient.RoleLeader)
		third, err := cluster.TryStart("third")
		require.NoError(t, err)
		require.Equal(t, clusterclient.RoleLeader, third.Role())
		a.Thaw()
		mustBecome(t, a, clusterclient.RoleFollower)
	})
}

// What is led beside a port whose owner hangs is told by the leases.
func TestInspectWhileThePortsOwnerHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b := cluster.Start(), cluster.Start()
		mustYield(t, mustSubscribe(t, b, "k"), "one")
		other, err := cluster.TryStart("other")
		require.NoError(t, err)
		a.Freeze()
		time.Sleep(2 * time.Second)
		look := func() inspect.Cluster {
			report, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, clusterclient.WithNetwork(cluster.Network.Host()))
			require.ErrorIs(t, err, clusterclient.ErrNoLeader)
			require.ErrorContains(t, err, "pid 1 at "+portAddress+" holds the port and does not answer")
			require.Equal(t, 1, report.Owner.PID)
			require.Len(t, report.Names, 2)
			require.Equal(t, other.Status().LeaderAddress, report.Names[0].Leader.Address)
			require.NotNil(t, report.Names[0].Leadership, report.Names[0].Trouble)
			return report
		}
		hangs := look().Names[1]
		require.Nil(t, hangs.Leadership)
		require.NotEmpty(t, hangs.Trouble)
		require.Equal(t, 1, hangs.Leader.PID)
		require.Equal(t, inspect.Held, hangs.Lease.State)
		require.Greater(t, time.Since(hangs.Lease.Renewed), 2*time.Second)

		mustBecome(t, b, clusterclient.RoleLeader)
		require.NotNil(t, look().Names[1].Leadership)
		e, err := clusterclient.Explain(t.Context(), clustertest.Name, clustertest.Port, "k", clusterclient.WithNetwork(cluster.Network.Host()))
		require.NoError(t, err)
		require.Equal(t, b.Status().Term, e.Term)
	})
}
