package clusterclient_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

var followerOnly = clusterclient.WithRole(clusterclient.FollowerOnly)

func TestTakeovers(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		cluster.Start()
		c := cluster.Start(followerOnly)
		sub := mustSubscribe(t, c, "k")
		last := mustYield(t, sub, "0")
		for round := range 20 {
			cluster.Start()
			before := cluster.Leader()
			before.Kill()
			mustStayQuiet(t, sub) // a takeover alone
			mustBeFresh(t, sub)
			require.EqualValues(t, 2*round+2, c.Status().Term, "the term")

			cluster.Start()
			cluster.Leader().Kill()
			want := fmt.Sprint(round + 1)
			up.Set("k", want) // during the takeover
			v := mustYield(t, sub, want)
			require.Equal(t, 1, v.Revision.Compare(last.Revision), "round %d: %v is not after %v", round, v.Revision, last.Revision)
			mustStayQuiet(t, sub)
			last = v
		}
		require.Equal(t, 41, up.Opens())
		require.Equal(t, 1, up.Connections())
		require.Equal(t, 1, up.Watches("k"))
	})
}

// A process that has never heard of the cluster takes the port before those
// who have. It knows neither the term nor the values.
func TestTakeoverByANewcomer(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		a := cluster.Start()
		c := cluster.Start(followerOnly)
		sub := mustSubscribe(t, c, "k")
		last := mustYield(t, sub, "0")
		for round := range 20 {
			a.Kill()
			want := "0"
			if round%2 == 0 {
				want = fmt.Sprint(round + 1)
				up.Set("k", want)
			}
			a = cluster.Start()
			if round%2 == 0 {
				v := mustYield(t, sub, want)
				require.Equal(t, 1, v.Revision.Compare(last.Revision), "round %d: %v is not after %v", round, v.Revision, last.Revision)
				last = v
			}
			mustStayQuiet(t, sub)
			mustBeFresh(t, sub)
			require.EqualValues(t, round+2, a.Status().Term, "the leader's term")
			require.EqualValues(t, round+2, c.Status().Term, "the follower's term")
		}
	})
}

// The process that takes over knows a value that the upstream, when it comes
// back, has no more.
func TestTakeoverWhileTheUpstreamIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		c := cluster.Start(followerOnly)
		here, there := mustSubscribe(t, b, "k"), mustSubscribe(t, c, "k")
		for i := range 100 {
			up.Set("k", fmt.Sprint(i))
			mustNext(t, here)
			mustNext(t, there)
		}
		up.Hang(true)
		a.Kill()
		mustBecome(t, b, clusterclient.RoleLeader)
		mustStayQuiet(t, there)
		mustBeStale(t, there)
		late := cluster.Start(followerOnly)
		sub := mustSubscribe(t, late, "k")
		require.True(t, mustYield(t, sub, "99").Stale, "the last known value is all there is")
		up.Set("k", "100")
		up.Hang(false)
		for _, s := range []*follower.Subscription{here, there, sub} {
			require.False(t, mustYield(t, s, "100").Stale)
		}
	})
}
