package clusterclient_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
)

var errCut = errors.New("no route to host")

// startProbing starts a client that can tell whether it reaches the upstream.
func startProbing(cluster *clustertest.Cluster, after time.Duration, opts ...clusterclient.Option) *clustertest.Node {
	var self atomic.Pointer[clustertest.Node]
	probe := func(ctx context.Context) error { return self.Load().Reach(ctx) }
	n := cluster.Start(append(opts, clusterclient.WithResignWhenBlind(after, probe))...)
	self.Store(n)
	return n
}

func TestBlindLeaderSaysSo(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates())
		mustYield(t, sub, "one")
		time.Sleep(time.Minute)
		require.Zero(t, e.Client.Status().BlindSince)
		cut := time.Now()
		e.Up.FailWatches(errCut)
		v := mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorContains(t, v.Reason, errCut.Error())
		time.Sleep(2 * time.Second)
		st := e.Client.Status()
		require.Contains(t, st.BlindReason, errCut.Error())
		require.WithinDuration(t, cut, st.BlindSince, time.Second)
		name, err := e.Client.Inspect(t.Context(), inspect.Query{})
		require.NoError(t, err)
		require.Equal(t, st.BlindSince.UnixNano(), name.Leadership.Upstream.BlindSince.UnixNano())
		x, err := e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, st.BlindSince.UnixNano(), x.Watch.BlindSince.UnixNano())

		e.Up.FailWatches(nil)
		mended := time.Now()
		mustTurn(t, sub, false, follower.OriginLive)
		require.LessOrEqual(t, time.Since(mended), time.Second, "how long it took to see that")
		synctest.Wait()
		require.Zero(t, e.Client.Status().BlindSince)
		mustStayQuiet(t, sub)
	}, func(e *env) { e.Up.Set("k", "one") })
}

// TestSilentUpstreamIsFound has an upstream that goes silent without an end of
// any watch: values must not stay fresh.
func TestSilentUpstreamIsFound(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates())
		other := mustSubscribe(t, e.Client, "other", follower.WithStates())
		mustYield(t, sub, "one")
		mustYield(t, other, "one")
		time.Sleep(time.Minute)
		silent := time.Now()
		e.Up.Hang(true)
		e.Up.Mute() // what watches there are has been forgotten
		v := mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorContains(t, v.Reason, "deadline exceeded")
		require.LessOrEqual(t, time.Since(silent), 12*time.Second)
		require.Equal(t, v.Since.UnixNano(), mustTurn(t, other, true, follower.OriginMemory).Since.UnixNano())
		e.Up.Set("k", "two")
		e.Up.Hang(false)
		require.False(t, mustYield(t, sub, "two").Stale)
		mustTurn(t, other, false, follower.OriginLive)
	}, func(e *env) {
		e.Up.Set("k", "one")
		e.Up.Set("other", "one")
	})
}

func TestBlindLeaderGivesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := startProbing(cluster, 20*time.Second)
		b, c := startProbing(cluster, 20*time.Second), startProbing(cluster, 20*time.Second)
		sub := mustSubscribe(t, c, "k", follower.WithStates())
		mustYield(t, sub, "one")
		c.Blind(errCut) // so that it is not for c to lead
		a.Blind(errCut)
		blind := time.Now()
		mustTurn(t, sub, true, follower.OriginMemory)
		mustBecome(t, b, clusterclient.RoleLeader)
		require.GreaterOrEqual(t, time.Since(blind), 20*time.Second)
		require.LessOrEqual(t, time.Since(blind), 25*time.Second)
		for v := mustNext(t, sub); v.Stale; v = mustNext(t, sub) {
			require.True(t, v.Repeated)
		}
		mustBecome(t, a, clusterclient.RoleFollower)
		require.Equal(t, uint64(2), b.Status().Term)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(2), b.Status().Term, "the leadership goes to and fro")
		require.Equal(t, 2, b.Status().Candidates, "one that gave way counts as a candidate still")

		a.Blind(nil)
		b.Blind(errCut)
		mustBecome(t, a, clusterclient.RoleLeader)
		require.Equal(t, uint64(3), a.Status().Term)
	})
}

// TestBlindLeaderHandsOver has a blind leader give way to the one that can reach
// the upstream, which is ready before it goes, and the only one that tries.
func TestBlindLeaderHandsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		was, sees := startProbing(cluster, 10*time.Second), startProbing(cluster, 10*time.Second)
		var opens atomic.Int32
		blind := clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) {
			opens.Add(1)
			return nil, errCut
		})
		for range 3 { // younger ones, that would be asked first
			startProbing(cluster, 10*time.Second, blind).Blind(errCut)
		}
		sub := mustSubscribe(t, sees, "k", follower.WithStates())
		mustYield(t, sub, "one")
		host, over := cluster.Network.Host(), make(chan struct{})
		var dialling sync.WaitGroup
		dialling.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(time.Millisecond):
				}
				conn, err := host.Dial(t.Context(), "127.0.0.1:"+strconv.Itoa(clustertest.Port))
				if assert.NoError(t, err, "the port is bound all the time") {
					_ = conn.Close()
				}
			}
		})
		was.Blind(errCut)
		mustTurn(t, sub, true, follower.OriginMemory)
		mustBecome(t, sees, clusterclient.RoleLeader)
		close(over)
		dialling.Wait()
		require.False(t, mustNext(t, sub).Stale)
		require.Zero(t, opens.Load(), "attempts of those that do not reach the upstream")
	})
}

// TestLeaderWhoseUpstreamDoesNotOpenGivesWay has a process take over that cannot
// open the upstream. It has nobody to ask, and leaves it to one that waits.
func TestLeaderWhoseUpstreamDoesNotOpenGivesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		was := cluster.Start()
		cut, sees := startProbing(cluster, 10*time.Second), startProbing(cluster, 10*time.Second)
		sub := mustSubscribe(t, sees, "k")
		mustYield(t, sub, "one")
		cut.Blind(errCut)
		sees.Freeze() // so that it comes too late
		was.Kill()
		up.Set("k", "two")
		time.Sleep(time.Second)
		sees.Thaw()
		died := time.Now()
		mustBecome(t, sees, clusterclient.RoleLeader)
		require.LessOrEqual(t, time.Since(died), 25*time.Second)
		mustYield(t, sub, "two")
		mustBecome(t, cut, clusterclient.RoleFollower)
		term := sees.Status().Term
		time.Sleep(time.Minute)
		require.Equal(t, term, sees.Status().Term, "the leadership goes to and fro")
	})
}

// TestLeaderWhoseUpstreamHangsGivesWay is the same with an open function that
// neither succeeds nor fails.
func TestLeaderWhoseUpstreamHangsGivesWay(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		was := cluster.Start()
		hangs, next := startProbing(cluster, 10*time.Second), startProbing(cluster, 10*time.Second)
		next.Freeze() // so that it comes too late
		up.HangOpen(true)
		was.Kill()
		time.Sleep(time.Second)
		next.Thaw()
		time.Sleep(14 * time.Second)
		up.HangOpen(false)
		mustBecome(t, next, clusterclient.RoleLeader)
		mustBecome(t, hangs, clusterclient.RoleFollower)
	})
}

// TestLeaderWhoseUpstreamDoesNotOpenStays has nobody else to lead.
func TestLeaderWhoseUpstreamDoesNotOpenStays(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		was, cut := cluster.Start(), startProbing(cluster, 10*time.Second)
		cluster.Start(followerOnly)
		cut.Blind(errCut)
		was.Kill()
		time.Sleep(5 * time.Minute)
		cut.Blind(nil)
		mustBecome(t, cut, clusterclient.RoleLeader)
		require.Equal(t, uint64(2), cut.Status().Term)
	})
}

func TestNobodyResignsWhenNobodySees(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := startProbing(cluster, 10*time.Second)
		b := startProbing(cluster, 10*time.Second)
		startProbing(cluster, 10*time.Second, clusterclient.WithRole(clusterclient.FollowerOnly)) // it cannot lead
		cluster.Start()                                                                           // it is not asked
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "one")
		a.Blind(errCut)
		b.Blind(errCut)
		time.Sleep(time.Minute)
		require.Equal(t, uint64(1), a.Status().Term)
		b.Blind(nil)
		mustBecome(t, b, clusterclient.RoleLeader)
	})
}

// TestBlindLeaderStandsBack has the successor die while the one that gave way
// is blind still.
func TestBlindLeaderStandsBack(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b := startProbing(cluster, 10*time.Second), startProbing(cluster, 10*time.Second)
		sub := mustSubscribe(t, a, "k")
		mustYield(t, sub, "one")
		a.Blind(errCut)
		mustBecome(t, b, clusterclient.RoleLeader)
		time.Sleep(time.Minute)
		c := startProbing(cluster, 10*time.Second)
		b.Kill()
		mustBecome(t, c, clusterclient.RoleLeader)
		require.Equal(t, uint64(3), c.Status().Term, "the blind one led in between")
		time.Sleep(time.Minute)
		require.Equal(t, clusterclient.RoleFollower, a.Role())

		c.Kill()
		killed := time.Now()
		mustBecome(t, a, clusterclient.RoleNone)
		time.Sleep(2 * time.Second)
		require.Equal(t, clusterclient.RoleNone, a.Role(), "it does not stand back")
		up.Set("k", "two")
		a.Blind(nil)
		mustBecome(t, a, clusterclient.RoleLeader)
		require.LessOrEqual(t, time.Since(killed), 6*time.Second)
		mustYield(t, sub, "two")
	})
}

// TestBlindLeaderLeadsWhenNobodyElseDoes has nobody left but one that gave way.
func TestBlindLeaderLeadsWhenNobodyElseDoes(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b := startProbing(cluster, 10*time.Second, clusterclient.WithSnapshot(t.TempDir())), startProbing(cluster, 10*time.Second)
		mustYield(t, mustSubscribe(t, a, "k"), "one")
		time.Sleep(time.Second) // for the snapshot
		a.Blind(errCut)
		mustBecome(t, b, clusterclient.RoleLeader)
		b.Kill()
		killed := time.Now()
		mustBecome(t, a, clusterclient.RoleNone)
		mustBecome(t, a, clusterclient.RoleLeader)
		require.GreaterOrEqual(t, time.Since(killed), 3*time.Second, "it does not stand back")
		synctest.Wait()
		require.NotZero(t, a.Status().BlindSince)
		v, err := a.Get(t.Context(), "k")
		require.NoError(t, err)
		require.True(t, v.Stale)
	})
}

func TestBlindOptionsThatMakeNoSense(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		sees := func(context.Context) error { return nil }
		for _, opt := range []clusterclient.Option{
			clusterclient.WithResignWhenBlind(0, sees), clusterclient.WithResignWhenBlind(-time.Second, sees),
			clusterclient.WithResignWhenBlind(time.Second, nil),
		} {
			_, err := cluster.TryStart("other", opt)
			require.ErrorIs(t, err, clusterclient.ErrInvalid)
		}
	})
}
