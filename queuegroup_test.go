package clusterclient_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// ledger counts what the members of a queue group were given.
type ledger struct {
	mu       sync.Mutex
	byValue  map[string]int
	byMember map[string]int
}

func newLedger() *ledger {
	return &ledger{byValue: make(map[string]int), byMember: make(map[string]int)}
}

func (l *ledger) add(member string, v follower.Value) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byValue[string(v.Data)]++
	l.byMember[member]++
}

// read enters all that sub yields, each after a pause as if it took work,
// until sub's client is closed.
func (l *ledger) read(t *testing.T, member string, sub *follower.Subscription, pause time.Duration) {
	for v, err := range sub.Values(t.Context()) {
		if err != nil {
			return
		}
		l.add(member, v)
		time.Sleep(pause)
	}
}

// mustHold checks that each of n values was given at least once, and at most
// as often as said.
func (l *ledger) mustHold(t *testing.T, n, most int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range n {
		got := l.byValue[fmt.Sprint(i)]
		require.True(t, 1 <= got && got <= most, "update %d was yielded %d times, want 1 to %d", i, got, most)
	}
	require.Len(t, l.byValue, n, "different values that were yielded")
}

func TestQueueGroupSharesUpdates(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "present, and no update")
		l := newLedger()
		all := mustSubscribe(t, cluster.Start(), "k")
		for i, c := range []subscriber{cluster.Leader(), cluster.Start(), cluster.Start(), cluster.Start()} {
			sub := mustSubscribe(t, c, "k", follower.QueueGroup("g"))
			go l.read(t, fmt.Sprint(i), sub, time.Millisecond)
		}
		for i := range 1000 {
			up.Set("k", fmt.Sprint(i))
		}
		time.Sleep(longEnough)
		l.mustHold(t, 1000, 1)
		for member, got := range l.byMember {
			require.InDelta(t, 250, got, 50, "share of member %s in 1,000 updates: %v", member, l.byMember)
		}
		mustYield(t, all, "999") // a subscription beside the group has all the newest values
	})
}

func TestQueueGroupAlone(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "present, and no update")
		one := mustSubscribe(t, e.Client, "k", follower.QueueGroup("one"))
		two := mustSubscribe(t, e.Client, "k", follower.QueueGroup("two"))
		v, ok := one.Value()
		require.True(t, ok || !v.Stale)
		mustStayQuiet(t, one)
		for i := range 100 {
			e.Up.Set("k", fmt.Sprint(i))
		}
		for i := range 100 { // in order, each group all of them
			mustYield(t, one, fmt.Sprint(i))
			mustYield(t, two, fmt.Sprint(i))
		}
		e.Up.Delete("k")
		require.True(t, mustNext(t, one).Deleted, "a deletion is an update")
		mustStayQuiet(t, one)
	})
}

func TestQueueGroupMemberIsKilled(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		l := newLedger()
		var members []*clustertest.Node
		for i := range 4 {
			members = append(members, cluster.Start())
			sub := mustSubscribe(t, members[i], "k", follower.QueueGroup("g"))
			go l.read(t, fmt.Sprint(i), sub, time.Millisecond)
		}
		for i := range 1000 {
			up.Set("k", fmt.Sprint(i))
		}
		time.Sleep(100 * time.Millisecond)
		members[0].Kill()
		time.Sleep(longEnough)
		// What it held may have been dealt with, or not: it comes again. A
		// member holds no more than a few at a time.
		l.mustHold(t, 1000, 2)
		again := 0
		for n := range maps.Values(l.byValue) {
			again += n - 1
		}
		require.LessOrEqual(t, again, 8, "updates that were yielded twice")
		require.Greater(t, l.byMember["0"], 50)
	})
}

// An update that a member holds and has not acknowledged, because it has not
// asked for the next one, is handed to another when the member dies.
func TestQueueGroupHandsOverWhatIsHeld(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		a, b := cluster.Start(), cluster.Start()
		holds := mustSubscribe(t, a, "k", follower.QueueGroup("g"))
		for i := range 3 {
			up.Set("k", fmt.Sprint(i))
		}
		mustYield(t, holds, "0")
		mustYield(t, holds, "1") // 0 is dealt with, 1 is not
		takes := mustSubscribe(t, b, "k", follower.QueueGroup("g"))
		mustStayQuiet(t, takes)
		a.Kill()
		mustYield(t, takes, "1")
		mustYield(t, takes, "2")
		mustStayQuiet(t, takes)
	})
}

func TestQueueGroupMemberCloses(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		first := mustSubscribe(t, cluster.Start(), "k", follower.QueueGroup("g"))
		for i := range 20 {
			up.Set("k", fmt.Sprint(i))
		}
		mustYield(t, first, "0")
		require.NoError(t, first.Close()) // 0 is dealt with
		synctest.Wait()
		second := mustSubscribe(t, cluster.Start(), "k", follower.QueueGroup("g"))
		for i := 1; i < 20; i++ {
			mustYield(t, second, fmt.Sprint(i))
		}
		mustStayQuiet(t, second)
	})
}

// What the member before had not looked at when it left is not lost either
// when the next one, in the same process, comes in the same instant.
func TestQueueGroupIsLeftAndJoinedInTheSameInstant(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
		for i := range 100 {
			e.Up.Set("k", fmt.Sprint(i))
		}
		synctest.Wait()
		for i := range 100 {
			mustYield(t, sub, fmt.Sprint(i))
			require.NoError(t, sub.Close())
			sub = mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
		}
		mustStayQuiet(t, sub)
	})
}

// The same while another subscription keeps the key.
func TestQueueGroupIsLeftAndJoinedBesideAnother(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		beside := mustSubscribe(t, e.Client, "k")
		sub := mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
		for i := range 20 {
			e.Up.Set("k", fmt.Sprint(i))
		}
		synctest.Wait()
		for i := range 20 {
			mustYield(t, sub, fmt.Sprint(i))
			require.NoError(t, sub.Close())
			sub = mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
		}
		mustStayQuiet(t, sub)
		mustYield(t, beside, "19")
	})
}

// What waited in a leader that died is lost, but for the newest update.
func TestQueueGroupAcrossTakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		b, c := cluster.Start(), cluster.Start()
		subs := []*follower.Subscription{
			mustSubscribe(t, b, "k", follower.QueueGroup("g")),
			mustSubscribe(t, c, "k", follower.QueueGroup("g")),
		}
		l := newLedger()
		for i, sub := range subs {
			go l.read(t, fmt.Sprint(i), sub, time.Millisecond)
		}
		up.Set("k", "0")
		time.Sleep(longEnough)
		a.Kill()
		time.Sleep(longEnough)
		l.mustHold(t, 1, 1) // a takeover by itself is no update
		cluster.Leader().Kill()
		up.Set("k", "1") // while nobody leads
		time.Sleep(longEnough)
		l.mustHold(t, 2, 1)
	})
}

// What a member was handed by the leader before, and has not begun with, is handed
// to another one when it goes.
func TestQueueGroupMemberOutlivesALeader(t *testing.T) {
	for how, leave := range map[string]func(*testing.T, *clustertest.Node){
		"that resigns": func(t *testing.T, n *clustertest.Node) { require.NoError(t, n.Resign(t.Context())) },
		"that dies":    func(_ *testing.T, n *clustertest.Node) { n.Kill() },
	} {
		for what, end := range map[string]func(*clustertest.Node, *follower.Subscription) (next int){
			"and dies":   func(n *clustertest.Node, _ *follower.Subscription) int { n.Kill(); return 1 },
			"and closes": func(_ *clustertest.Node, sub *follower.Subscription) int { _ = sub.Close(); return 2 },
		} {
			t.Run(how+" "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					first, b, c := cluster.Start(), cluster.Start(followerOnly), cluster.Start()
					holds := mustSubscribe(t, b, "k", follower.QueueGroup("g"))
					for i := range 5 {
						up.Set("k", fmt.Sprint(i))
					}
					mustYield(t, holds, "0")
					leave(t, first)
					mustBecome(t, c, clusterclient.RoleLeader)
					time.Sleep(longEnough)
					mustYield(t, holds, "1")
					takes := mustSubscribe(t, c, "k", follower.QueueGroup("g"))
					for i := end(b, holds); i < 5; i++ {
						mustYield(t, takes, fmt.Sprint(i))
					}
				})
			})
		}
	}
}

// An update that came while nobody led is handed out, although the first member
// at the next leader knows of none that was before it.
func TestQueueGroupNewcomerIsFirstAtTheNextLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, c, network := cluster.Start(), cluster.Start(), newStallable(cluster)
		b := cluster.Start(followerOnly, network.option())
		l := newLedger()
		go l.read(t, "b", mustSubscribe(t, b, "k", follower.QueueGroup("g")), time.Millisecond)
		up.Set("k", "0")
		time.Sleep(time.Second)
		network.stall()
		first.Kill()
		up.Set("k", "1")
		mustBecome(t, c, clusterclient.RoleLeader)
		go l.read(t, "c", mustSubscribe(t, c, "k", follower.QueueGroup("g")), time.Millisecond)
		time.Sleep(longEnough)
		l.mustHold(t, 1, 1)
		network.release()
		time.Sleep(longEnough)
		l.mustHold(t, 2, 1)
	})
}

// What members hold when their leader closes stays with them, whichever of their
// sessions ends first.
func TestQueueGroupOutlivesTheOnlyLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		l := newLedger()
		var subs []*follower.Subscription
		for range 4 {
			subs = append(subs, mustSubscribe(t, cluster.Start(followerOnly), "k", follower.QueueGroup("g")))
		}
		for i := range 16 {
			up.Set("k", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		require.NoError(t, first.Close())
		cluster.Start()
		for i, sub := range subs {
			go l.read(t, fmt.Sprint(i), sub, time.Second)
		}
		time.Sleep(longEnough)
		l.mustHold(t, 16, 2)
		delete(l.byValue, "15") // the newest: not to lose it, the next leader may hand it out again
		l.mustHold(t, 15, 1)
	})
}

// What a member has not begun with when its session is lost is handed out once,
// although it gives it back and the leader has taken it back.
func TestQueueGroupMemberLosesItsSession(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, network := cluster.Start(), newStallable(cluster)
		mustSubscribe(t, a, "k") // what waits in the group stays
		sub := mustSubscribe(t, cluster.Start(followerOnly, network.option()), "k", follower.QueueGroup("g"))
		for i := range 5 {
			up.Set("k", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		network.stall()
		time.Sleep(longEnough)
		network.release()
		time.Sleep(longEnough)
		l := newLedger()
		go l.read(t, "b", sub, time.Second)
		time.Sleep(longEnough)
		l.mustHold(t, 5, 1)
	})
}

// The leader that was stopped, with nobody else to lead, may not have heard of
// what was dealt with meanwhile. It gives nothing a third time.
func TestQueueGroupLeaderIsStopped(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, l := cluster.Start(), newLedger()
		mustSubscribe(t, a, "k") // what waits in the group stays
		go l.read(t, "b", mustSubscribe(t, cluster.Start(followerOnly), "k", follower.QueueGroup("g")), 100*time.Millisecond)
		for i := range 20 {
			up.Set("k", fmt.Sprint(i))
		}
		time.Sleep(time.Second)
		a.Freeze()
		time.Sleep(30 * time.Second)
		a.Thaw()
		time.Sleep(longEnough)
		l.mustHold(t, 20, 2)
	})
}

func TestQueueGroupJoinsWithinItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Hang(true)
		a := cluster.Start()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Subscribe(ctx, "k", follower.QueueGroup("g"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, a.Status().Subscriptions, "subscriptions that were left behind")
		up.Hang(false)
		sub := mustSubscribe(t, a, "k", follower.QueueGroup("g"))
		up.Set("k", "one")
		mustYield(t, sub, "one")
	})
}

// When the queue is full its oldest updates give way; memory stays bounded.
func TestQueueGroupWithoutReaders(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		sub := mustSubscribe(t, cluster.Start(), "k", follower.QueueGroup("g"))
		const n = 10_000
		for i := range n {
			up.Set("k", fmt.Sprint(i))
			if i%1000 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		var got []string
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		for v, err := range sub.Values(ctx) {
			if err == nil {
				got = append(got, string(v.Data))
			}
		}
		require.Less(t, len(got), n/2, "updates that were kept")
		require.Greater(t, len(got), 4000, "updates that were kept")
		require.Equal(t, fmt.Sprint(n-1), got[len(got)-1], "the newest update")
		require.Equal(t, "0", got[0], "what was handed over stays")
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(got))), len(got), "different updates")
	}, clusterclient.WithLinger(time.Hour))
}
