package clusterclient_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

// mustStart starts a client of the cluster called name, with an upstream of
// its own for each name.
func mustStart(t *testing.T, cluster *clustertest.Cluster, name string, up *clustertest.Upstream) *clustertest.Node {
	t.Helper()
	n, err := cluster.TryStart(name, clusterclient.WithUpstream(up.Open))
	require.NoError(t, err, "start a client of %q", name)
	return n
}

// Names are independent although one port carries them all: the process that
// owns the port need not know them.
func TestNamesAreIndependent(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		upX, upY := clustertest.NewUpstream(), clustertest.NewUpstream()
		upX.Set("k", "x1")
		upY.Set("k", "y1")
		x1, y1 := mustStart(t, cluster, "X", upX), mustStart(t, cluster, "Y", upY)
		x2, y2 := mustStart(t, cluster, "X", upX), mustStart(t, cluster, "Y", upY)
		require.Equal(t, clusterclient.RoleLeader, x1.Role())
		require.Equal(t, clusterclient.RoleLeader, y1.Role())
		require.Equal(t, clusterclient.RoleFollower, x2.Role())
		require.Equal(t, clusterclient.RoleFollower, y2.Role())
		require.Equal(t, portAddress, x1.Status().LeaderAddress)
		require.NotEqual(t, portAddress, y1.Status().LeaderAddress, "two leaders at one address")
		require.Equal(t, y1.Status().LeaderAddress, y2.Status().LeaderAddress)
		subX, subY := mustSubscribe(t, x2, "k"), mustSubscribe(t, y2, "k")
		mustYield(t, subX, "x1")
		mustYield(t, subY, "y1")

		require.NoError(t, x1.Close()) // the owner of the port
		synctest.Wait()
		require.Equal(t, clusterclient.RoleLeader, x2.Role(), "closing X moves X")
		require.Equal(t, clusterclient.RoleLeader, y1.Role(), "closing X leaves Y")
		require.EqualValues(t, 1, y1.Status().Term)
		require.Equal(t, clusterclient.RoleFollower, y2.Role())
		mustStayQuiet(t, subX)
		mustStayQuiet(t, subY)
		upX.Set("k", "x2")
		mustYield(t, subX, "x2")
		upY.Set("k", "y2")
		mustYield(t, subY, "y2")

		y3 := mustStart(t, cluster, "Y", upY) // is shown the way by the next owner
		mustYield(t, mustSubscribe(t, y3, "k"), "y2")
		z := mustStart(t, cluster, "Z", clustertest.NewUpstream())
		require.Equal(t, clusterclient.RoleLeader, z.Role())
		require.Equal(t, []int{2, 1}, []int{upX.Opens(), upY.Opens()}, "connections made to the upstreams")
	})
}

func TestNameMovesWhenItsLeaderIsKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		upX, upY := clustertest.NewUpstream(), clustertest.NewUpstream()
		x := mustStart(t, cluster, "X", upX)
		y1, y2, y3 := mustStart(t, cluster, "Y", upY), mustStart(t, cluster, "Y", upY), mustStart(t, cluster, "Y", upY)
		upY.Set("k", "one")
		sub := mustSubscribe(t, y3, "k")
		mustYield(t, sub, "one")
		y1.Kill()
		time.Sleep(time.Second)
		leads := y2
		if y3.Role() == clusterclient.RoleLeader {
			leads = y3
		}
		require.Equal(t, clusterclient.RoleLeader, leads.Role())
		require.EqualValues(t, 2, leads.Status().Term)
		require.Equal(t, clusterclient.RoleLeader, x.Role())
		require.EqualValues(t, 1, x.Status().Term)
		upY.Set("k", "two")
		mustYield(t, sub, "two")
	})
}

// The leader of a name and the owner of the port die together.
func TestNameMovesWhenTheOwnerDiesToo(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		upX, upY := clustertest.NewUpstream(), clustertest.NewUpstream()
		upY.Set("k", "one")
		x1, y1 := mustStart(t, cluster, "X", upX), mustStart(t, cluster, "Y", upY)
		x2, y2 := mustStart(t, cluster, "X", upX), mustStart(t, cluster, "Y", upY)
		sub := mustSubscribe(t, y2, "k")
		before := mustYield(t, sub, "one")
		for range 3 {
			began := time.Now()
			y1.Kill()
			x1.Kill()
			upY.Set("k", "two")
			after := mustYield(t, sub, "two")
			require.Less(t, time.Since(began), time.Second, "time until the name was led again")
			require.Equal(t, 1, after.Revision.Compare(before.Revision), "%v is not after %v", after.Revision, before.Revision)
			mustBecome(t, x2, clusterclient.RoleLeader)
			mustBecome(t, y2, clusterclient.RoleLeader)
			y1, x1 = y2, x2
			x2, y2 = mustStart(t, cluster, "X", upX), mustStart(t, cluster, "Y", upY)
			upY.Set("k", "one")
			sub = mustSubscribe(t, y2, "k")
			before = mustYield(t, sub, "one")
		}
	})
}

// Clients are independent of each other also within one process.
func TestOneProcess(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Set("k", "one")
		var network clustertest.Network
		host := network.Host()
		create := func(name string) *clusterclient.Client {
			c, err := clusterclient.Create(name, clustertest.Port, clusterclient.WithNetwork(host), clusterclient.WithUpstream(up.Open))
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
			return c
		}
		x, y, again := create("X"), create("Y"), create("X")
		require.Equal(t, clusterclient.RoleLeader, x.Role())
		require.Equal(t, clusterclient.RoleLeader, y.Role())
		require.Equal(t, clusterclient.RoleFollower, again.Role())
		subY, subAgain := mustSubscribe(t, y, "k"), mustSubscribe(t, again, "k")
		mustYield(t, mustSubscribe(t, x, "k"), "one")
		mustYield(t, subY, "one")
		mustYield(t, subAgain, "one")

		require.NoError(t, x.Close())
		up.Set("k", "two")
		mustYield(t, subY, "two")
		mustYield(t, subAgain, "two")
		require.Equal(t, clusterclient.RoleLeader, again.Role())
		require.Equal(t, clusterclient.RoleLeader, y.Role())
	})
}
