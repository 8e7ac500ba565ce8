package clusterclient_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// leavings are the ways in which a leader hands over.
var leavings = map[string]func(context.Context, *clustertest.Node) error{
	"resigns":   func(ctx context.Context, n *clustertest.Node) error { return n.Resign(ctx) },
	"is closed": func(_ context.Context, n *clustertest.Node) error { return n.Close() },
}

// TestQueueGroupAcrossHandOvers changes a value all the time, while one leader
// after the other hands over. Each update is yielded once.
func TestQueueGroupAcrossHandOvers(t *testing.T) {
	for name, leave := range leavings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				l := newLedger()
				cluster.Start()
				for i := range 3 { // members in processes that stay
					sub := mustSubscribe(t, cluster.Start(), "k", follower.QueueGroup("g"))
					go l.read(t, strconv.Itoa(i), sub, 3*time.Millisecond)
				}
				const n = 4000
				var changing sync.WaitGroup
				changing.Go(func() {
					for i := range n {
						up.Set("k", strconv.Itoa(i))
						time.Sleep(time.Millisecond)
					}
				})
				for range 2 {
					time.Sleep(100 * time.Millisecond)
					require.NoError(t, leave(t.Context(), cluster.Leader()))
					cluster.Start()
				}
				changing.Wait()
				time.Sleep(longEnough)
				l.mustHold(t, n, 1)
			})
		})
	}
}

// What the leader's own process has dealt with when it is closed, in that very
// moment, is handed to nobody else.
func TestQueueGroupMemberThatLeadsCloses(t *testing.T) {
	for range 50 {
		inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
			was := cluster.Start()
			own := mustSubscribe(t, was, "k", follower.QueueGroup("g"))
			other := cluster.Start()
			const n = 6 // which one member may hold
			for i := range n {
				up.Set("k", strconv.Itoa(i))
			}
			const dealtWith = 3
			for i := range dealtWith {
				mustYield(t, own, strconv.Itoa(i))
			}
			sub := mustSubscribe(t, other, "k", follower.QueueGroup("g"))
			require.NoError(t, was.Close())
			for i := dealtWith; i < n; i++ {
				mustYield(t, sub, strconv.Itoa(i))
			}
			mustStayQuiet(t, sub)
		})
	}
}

// TestQueueGroupThatIsBehindIsHandedOver hands over what no member has been
// given yet.
func TestQueueGroupThatIsBehindIsHandedOver(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		was := cluster.Start()
		sub := mustSubscribe(t, cluster.Start(), "k", follower.QueueGroup("g"))
		const n = 200
		for i := range n {
			up.Set("k", strconv.Itoa(i))
		}
		synctest.Wait()
		require.NoError(t, was.Resign(t.Context()))
		for i := range n / 2 {
			up.Set("k", strconv.Itoa(n+i))
		}
		for i := range n + n/2 {
			mustYield(t, sub, strconv.Itoa(i))
		}
		mustStayQuiet(t, sub)
	})
}

// TestRegistrationsAcrossHandOvers hands the leadership round, while
// registrations are made, updated and closed. None is ever absent, or there
// when it should not be.
func TestRegistrationsAcrossHandOvers(t *testing.T) {
	for name, leave := range leavings {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				cluster.Start()
				stays := cluster.Start(followerOnly)
				regs := []*follower.Registration{
					mustRegister(t, stays, "kept", "0"), mustRegister(t, cluster.Start(), "updated", "0"),
				}
				for i := range 5 {
					var leaving sync.WaitGroup
					cluster.Start()
					before := len(up.RegistrationHistory())
					leaving.Go(func() { require.NoError(t, leave(t.Context(), cluster.Leader())) })
					brief := mustRegister(t, stays, fmt.Sprint("brief", i), "1")
					require.NoError(t, regs[0].Update(t.Context(), []byte(strconv.Itoa(i))))
					require.NoError(t, brief.Close())
					leaving.Wait()
					time.Sleep(5 * time.Second)
					for _, e := range up.RegistrationHistory()[before:] {
						require.True(t, e.Registered || e.Key != "kept", "%q was withdrawn in hand-over %d", e.Key, i)
					}
					require.Equal(t, strconv.Itoa(i), registered(up)["kept"])
					require.NotContains(t, registered(up), fmt.Sprint("brief", i))
				}
			})
		})
	}
}

// TestDeadOwnersAcrossAHandOver kills an owner just before the leader hands
// over. What it announced goes in time all the same.
func TestDeadOwnersAcrossAHandOver(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		was := cluster.Start()
		mustRegister(t, was, "of who resigns", "1")
		mustRegister(t, cluster.Start(), "of who succeeds", "1")
		dying := cluster.Start(followerOnly)
		mustRegister(t, dying, "dead", "1")
		synctest.Wait()
		dying.Kill()
		require.NoError(t, was.Resign(t.Context()))
		require.Equal(t, clusterclient.RoleFollower, was.Role())
		time.Sleep(grace + time.Second)
		require.Equal(t, map[string]string{"of who resigns": "1", "of who succeeds": "1"}, registered(up))
		for _, e := range up.RegistrationHistory() {
			require.True(t, e.Registered || e.Key == "dead", "%q was withdrawn", e.Key)
		}
	})
}
