package clusterclient_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// followers counts the clients that the leader serves, its own among them.
func followers(c *clustertest.Node) int { return len(c.Stats().Leading.Followers) }

// withSlowFollower runs test with a leader, and a follower that has the value "0" of
// key "k", and whose network can be held up.
func withSlowFollower(t *testing.T, test func(t *testing.T, up *clustertest.Upstream, a *clustertest.Node, net *stallable, sub *follower.Subscription)) {
	t.Helper()
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		a := cluster.Start()
		net := newStallable(cluster)
		b := cluster.Start(net.option(), clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "0")
		test(t, up, a, net, sub)
	})
}

func TestSlowFollowerIsNotCutWhileBytesMove(t *testing.T) {
	withSlowFollower(t, func(t *testing.T, up *clustertest.Upstream, a *clustertest.Node, net *stallable, sub *follower.Subscription) {
		for i := range 20 {
			net.stall() // it says nothing, in turns with a moment in which it does
			time.Sleep(25 * time.Second)
			net.release()
			time.Sleep(time.Second)
			require.Equal(t, 2, followers(a), "after %d stalls", i+1)
		}
		require.Empty(t, a.Stats().Takeovers)
		up.Set("k", "1")
		mustYield(t, sub, "1")
	})
}

func TestFollowerIsCutWhenNoByteMoves(t *testing.T) {
	withSlowFollower(t, func(t *testing.T, up *clustertest.Upstream, a *clustertest.Node, net *stallable, sub *follower.Subscription) {
		net.stall()
		time.Sleep(cutEarliest)
		require.Equal(t, 2, followers(a), "cut too early")
		up.Set("k", "1")
		time.Sleep(cutLatest - cutEarliest)
		require.Equal(t, 1, followers(a), "not cut")
		up.Set("k", "2")
		synctest.Wait()
		net.release()
		mustReach(t, sub, "2")
		require.Equal(t, 2, followers(a))
	})
}

// mustReach checks that sub comes to yield want.
func mustReach(t *testing.T, sub *follower.Subscription, want string) {
	t.Helper()
	for got := ""; got != want; {
		got = string(mustNext(t, sub).Data)
	}
}

// No byte for 30 s, as looked at every 10 s.
const (
	cutEarliest = 29 * time.Second
	cutLatest   = 45 * time.Second
)

// What waits for a follower that reads nothing is the newest value of each key,
// not all of them.
func TestFollowerThatReadsNothingIsOwedTheNewestOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		const keys = 10
		net := newStallable(cluster)
		a := cluster.Start(net.listening())
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		other := mustSubscribe(t, a, "0")
		var subs []*follower.Subscription
		for i := range keys {
			subs = append(subs, mustSubscribe(t, b, fmt.Sprint(i)))
			mustNext(t, subs[i])
		}
		mustNext(t, other)
		net.stall()
		big := strings.Repeat("x", 200_000)
		for round := range 30 {
			for i := range keys {
				up.Set(fmt.Sprint(i), fmt.Sprint(big, round))
			}
			synctest.Wait()
			require.Equal(t, fmt.Sprint(big, round), string(mustNext(t, other).Data), "what another follower gets")
		}
		stats := a.Stats().Leading
		require.LessOrEqual(t, stats.Queued, keys+10, "messages that wait")
		net.release()
		for _, sub := range subs {
			mustReach(t, sub, big+"29")
		}
		require.Greater(t, a.Stats().Leading.Conflated, uint64(20*keys), "values left out")
	})
}
