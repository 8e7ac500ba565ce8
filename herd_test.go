package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// A diary is an upstream that notes when which watch began.
type diary struct {
	mu     sync.Mutex // guards what follows
	mute   bool       // watches do not report anything
	err    error      // watches fail
	began  []string   // keys, in order
	at     []time.Time
	silent int // watches under way that have not reported anything
}

func (l *diary) option() clusterclient.Option {
	return clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) { return l, nil })
}

func (l *diary) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	l.mu.Lock()
	mute, err := l.mute, l.err
	l.began, l.at = append(l.began, key), append(l.at, time.Now())
	if mute {
		l.silent++
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if !mute {
		sink(leader.Update{Data: []byte("of " + key)})
	}
	<-ctx.Done()
	return ctx.Err()
}

func (l *diary) Close() error { return nil }

// set changes how watches go from now on.
func (l *diary) set(mute bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mute, l.err = mute, err
}

// take returns what was noted since it was called last.
func (l *diary) take() (began []string, at []time.Time) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	began, at = l.began, l.at
	l.began, l.at = nil, nil
	return began, at
}

func subscribeAll(t *testing.T, c subscriber, keys ...string) (subs []*follower.Subscription) {
	t.Helper()
	for _, k := range keys {
		subs = append(subs, mustSubscribe(t, c, k))
	}
	return subs
}

func numbered(n int) (keys []string) {
	for i := range n {
		keys = append(keys, strconv.Itoa(i))
	}
	return keys
}

func TestWatchesBeginAtABoundedRate(t *testing.T) {
	var l *diary
	eachRole(t, func(t *testing.T, e *env) {
		subs := subscribeAll(t, e.Client, numbered(500)...)
		started := time.Now()
		began, _ := l.take()
		require.Len(t, began, 100, "watches begun at once")
		time.Sleep(time.Second)
		began, _ = l.take()
		require.Len(t, began, 100, "watches begun within a second")
		for i, sub := range subs {
			mustYield(t, sub, fmt.Sprintf("of %d", i))
		}
		require.Equal(t, 4*time.Second, time.Since(started).Round(100*time.Millisecond), "when all were watched")

		time.Sleep(time.Second)
		l.take()
		subscribeAll(t, e.Client, "and", "these", "two")
		began, at := l.take()
		require.Len(t, began, 3)
		require.Zero(t, time.Since(at[2]), "after a rest")
	}, func(e *env) {
		l = new(diary)
		e.Options = append(e.Options, l.option(), clusterclient.WithWatchRate(100))
	})
}

func TestMostWantedKeysAreWatchedFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		l := new(diary)
		one := cluster.Start(l.option(), clusterclient.WithWatchRate(10))
		two, three := cluster.Start(l.option()), cluster.Start(l.option())
		subscribeAll(t, one, numbered(30)[:26]...)
		l.take() // ten have begun
		subscribeAll(t, one, numbered(30)[26:]...)
		subscribeAll(t, two, "29", "28")
		subscribeAll(t, three, "29", "28", "27")
		dropped := mustSubscribe(t, three, "26")
		mustSubscribe(t, two, "26")
		synctest.Wait()
		require.NoError(t, dropped.Close())
		began, _ := l.take()
		require.Empty(t, began, "watches begun beyond the rate")
		time.Sleep(time.Second)
		began, _ = l.take()
		require.Len(t, began, 10)
		require.ElementsMatch(t, []string{"29", "28"}, began[:2], "the ones that three want")
		require.ElementsMatch(t, []string{"27", "26"}, began[2:4], "the ones that two want")
	})
}

func TestNoMoreThanSomeWatchesBeginAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		l := &diary{mute: true}
		a := cluster.Start(l.option(), clusterclient.WithWatchRate(0))
		subscribeAll(t, a, numbered(1000)...)
		began, _ := l.take()
		require.Len(t, began, 128, "watches that have said nothing")
		time.Sleep(time.Second)
		began, _ = l.take()
		require.Len(t, began, 128, "watches, after those before had a second")
		l.set(false, nil)
		time.Sleep(time.Second)
		began, _ = l.take()
		require.Len(t, began, 1000-2*128, "watches, when they report at once")
	})
}

func TestWatchRateThatMakesNoSense(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		_, err := cluster.TryStart("other", clusterclient.WithWatchRate(-1))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
	})
}

func TestWaitingForAWatchEndsWithItsKey(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		l := new(diary)
		a := cluster.Start(l.option(), clusterclient.WithWatchRate(1), clusterclient.WithLinger(0))
		subs := subscribeAll(t, a, numbered(5)...)
		l.take()
		for _, sub := range subs {
			require.NoError(t, sub.Close())
		}
		began, _ := l.take()
		require.Empty(t, began, "watches begun after their keys were dropped")
		dropped := time.Now()
		mustYield(t, mustSubscribe(t, a, "another"), "of another")
		require.LessOrEqual(t, time.Since(dropped), time.Second, "those that were dropped are waited for")
	})
}

func TestLostUpstreamIsAskedAtABoundedRate(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		l := &diary{err: errors.New("unreachable")}
		a := cluster.Start(l.option(), clusterclient.WithWatchRate(50))
		subscribeAll(t, a, numbered(1000)...)
		l.take()
		for range 30 {
			time.Sleep(time.Second)
			began, _ := l.take()
			require.LessOrEqual(t, len(began), 51, "watches begun within a second")
		}
	})
}

// TestTakeoverOfManyCostsOneWatchPerKey has many followers and many keys. Each
// follower wants some of them, so that all are wanted by several.
func TestTakeoverOfManyCostsOneWatchPerKey(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		const followers, keys, each = 200, 2000, 30
		for _, k := range numbered(keys) {
			up.Set(k, "of "+k)
		}
		first := cluster.Start()
		var subs []*follower.Subscription
		for i := range followers {
			n := cluster.Start()
			for j := range each {
				subs = append(subs, mustSubscribe(t, n, strconv.Itoa((i*10+j)%keys)))
			}
		}
		for _, sub := range subs {
			mustNext(t, sub)
		}
		first.Kill()
		killed := time.Now()
		for _, sub := range subs {
			for v, _ := sub.Value(); v.Stale || v.Revision.Term < 2; v, _ = sub.Value() {
				time.Sleep(10 * time.Millisecond)
			}
		}
		t.Logf("all values are confirmed again after %v", time.Since(killed))
		require.Len(t, cluster.Followers(), followers-1)
		require.Equal(t, 2, up.Opens())
		require.Equal(t, 1, up.Connections())
		for _, k := range numbered(keys) {
			require.Equal(t, 2, up.WatchesStarted(k), "watches of a key, one in each term")
			require.Equal(t, 1, up.Watches(k), "watches of a key under way")
		}
	})
}

// TestFollowersSpreadTheirConnections has the followers of a leader that dies
// connect to the next one: few of them at once, and many one after the other.
func TestFollowersSpreadTheirConnections(t *testing.T) {
	for followers, spread := range map[int]struct{ least, most time.Duration }{
		8:  {0, 30 * time.Millisecond},
		60: {40 * time.Millisecond, 200 * time.Millisecond},
	} {
		t.Run(strconv.Itoa(followers), func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				first := cluster.Start()
				for range followers {
					cluster.Start()
				}
				time.Sleep(2 * time.Second) // they are told how many they are
				first.Kill()
				killed := time.Now()
				time.Sleep(2 * time.Second)
				var came []time.Duration
				for _, p := range cluster.Leader().Stats().Leading.Followers {
					came = append(came, p.Since.Sub(killed))
				}
				require.Len(t, came, followers)
				slices.Sort(came)
				took := came[len(came)-1] - came[0]
				require.GreaterOrEqual(t, took, spread.least, "from the first to the last")
				require.LessOrEqual(t, took, spread.most, "from the first to the last")
			})
		})
	}
}

// TestTakeoverServesTheLastKnownValuesAsStaleMeanwhile has an upstream that says
// nothing to the next leader for a while. Followers have the last known value
// until it does, and so do those who come and know nothing: the leader has it
// from its own process.
func TestTakeoverServesTheLastKnownValuesAsStaleMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		first, next := cluster.Start(), cluster.Start()
		there := cluster.Start(followerOnly)
		subs := subscribeAll(t, next, "k")
		subs = append(subs, subscribeAll(t, there, "k")...)
		for _, sub := range subs {
			mustYield(t, sub, "one")
		}
		up.Hang(true)
		first.Kill()
		mustBecome(t, next, clusterclient.RoleLeader)
		mustBecome(t, there, clusterclient.RoleFollower)
		newcomer := cluster.Start(followerOnly)
		subs = append(subs, mustSubscribe(t, newcomer, "k"))
		require.True(t, mustYield(t, subs[2], "one").Stale, "what a newcomer yields")
		for i, n := range []*clustertest.Node{next, there, newcomer} {
			v, err := n.Get(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, "one", string(v.Data))
			require.True(t, v.Stale, "what Get returns")
			mustBeStale(t, subs[i])
		}

		up.Hang(false)
		for i, n := range []*clustertest.Node{next, there, newcomer} {
			mustStayQuiet(t, subs[i]) // it is the same value
			require.Greater(t, mustBeFresh(t, subs[i]).Revision.Term, uint64(1))
			v, err := n.Get(t.Context(), "k")
			require.NoError(t, err)
			require.False(t, v.Stale, "what Get returns when the upstream vouches")
		}
	})
}

// TestTakeoverWithoutTheUpstreamIsOneWarning has many keys, a leader that dies,
// and an upstream that is gone when the next one asks it for them.
func TestTakeoverWithoutTheUpstreamIsOneWarning(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		book := new(logbook)
		a, b := cluster.Start(), cluster.Start(book.option())
		for _, sub := range subscribeAll(t, b, numbered(2000)...) {
			mustNext(t, sub)
		}
		up.FailWatches(errors.New("unreachable"))
		a.Kill()
		mustBecome(t, b, clusterclient.RoleLeader)
		time.Sleep(25 * time.Second)
		require.Len(t, book.with("[WARN]"), 1)
		require.Empty(t, book.with("[ERROR]"))
		require.Less(t, len(book.with("")), 50, "lines, at whatever level")
	})
}
