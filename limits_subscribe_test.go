package clusterclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

func limited(l clusterclient.Limits) func(e *env) {
	return func(e *env) {
		for _, key := range []string{"a", "b", "c", "d"} {
			e.Up.Set(key, "v")
		}
		e.Options = append(e.Options, clusterclient.WithLimits(l))
	}
}

// mustBeRefused checks that err came without a wait, and says what there is to
// be done.
func mustBeRefused(t *testing.T, start time.Time, err error, key string) {
	t.Helper()
	require.ErrorIs(t, err, clusterclient.ErrLimit)
	require.Zero(t, time.Since(start), "it waits")
	for _, want := range []string{`"` + key + `"`, "subscribes to 2 keys already", "Limits.Subscriptions", "WithLimits"} {
		require.ErrorContains(t, err, want)
	}
}

// A subscription above the limit says so at once, once, and is served when
// there is room.
func TestSubscriptionAboveTheLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		c := e.Client
		mustYield(t, mustSubscribe(t, c, "a"), "v")
		b := mustSubscribe(t, c, "b")
		mustYield(t, b, "v")

		refused, start := mustSubscribe(t, c, "c"), time.Now()
		_, err := refused.Next(t.Context())
		mustBeRefused(t, start, err, "c")
		_, err = mustSubscribe(t, c, "c").Next(t.Context())
		mustBeRefused(t, start, err, "c")
		for range 2 { // which is closed then, and makes no room
			_, err = c.Get(t.Context(), "d")
			mustBeRefused(t, start, err, "d")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = refused.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it was said already")
		require.ErrorIs(t, err, clusterclient.ErrLimit, "and is waited for")

		require.NoError(t, b.Close())
		mustYield(t, refused, "v")
		e.Up.Set("c", "w")
		mustYield(t, refused, "w")
		start = time.Now()
		_, err = mustSubscribe(t, c, "b").Next(t.Context())
		mustBeRefused(t, start, err, "b")
	}, limited(clusterclient.Limits{Subscriptions: 2}))
}

// So do those of many keys, and a loop goes on.
func TestSubscriptionsAboveTheLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		start := time.Now()
		all, err := e.Client.SubscribeAll(t.Context(), []string{"a", "b", "c", "d"})
		require.NoError(t, err)
		defer func() { _ = all.Close() }()
		served, refused := make(map[string]bool), make(map[string]bool)
		for v, err := range all.Values(t.Context()) {
			if err == nil {
				served[v.Key] = true
			} else {
				of, _ := errors.AsType[*clusterclient.Error](err)
				mustBeRefused(t, start, err, of.Key)
				refused[of.Key] = true
			}
			if len(served)+len(refused) == 4 {
				break
			}
		}
		require.Equal(t, map[string]bool{"a": true, "b": true}, served)
		require.Equal(t, map[string]bool{"c": true, "d": true}, refused)
		all.Remove("a", "b")
		for v, err := range all.Values(t.Context()) {
			require.NoError(t, err)
			delete(refused, v.Key)
			if len(refused) == 0 {
				break
			}
		}
	}, limited(clusterclient.Limits{Subscriptions: 2}))
}

// Room that is made before the leader's refusal has been heard is not lost: the
// keys that change places are asked for before others have left.
func TestRoomMadeBeforeTheRefusal(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		all, err := e.Client.SubscribeAll(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		defer func() { _ = all.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		next := func() string {
			v, err := all.Next(ctx)
			require.NoError(t, err)
			return v.Key
		}
		require.ElementsMatch(t, []string{"a", "b"}, []string{next(), next()})
		require.NoError(t, all.Add("c", "d"))
		all.Remove("a", "b")
		require.ElementsMatch(t, []string{"c", "d"}, []string{next(), next()})

		start := time.Now()
		_, err = mustSubscribe(t, e.Client, "a").Next(ctx)
		mustBeRefused(t, start, err, "a")
	}, limited(clusterclient.Limits{Subscriptions: 2}))
}

func TestWatchAboveTheLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		all, err := e.Client.SubscribeAll(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		synctest.Wait()
		start, refused := time.Now(), false
		for v, err := range clusterclient.Watch[[]byte](t.Context(), e.Client, "c") {
			if refused {
				require.NoError(t, err)
				require.Equal(t, "v", string(v))
				break
			}
			mustBeRefused(t, start, err, "c")
			refused = true
			require.NoError(t, all.Close())
		}
	}, limited(clusterclient.Limits{Subscriptions: 2}))
}

// A key that is longer than the leader takes is refused likewise, and so is the
// name of a queue group of a key that is served.
func TestKeysThatAreTooLong(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		long, start := strings.Repeat("k", 11), time.Now()
		sub := mustSubscribe(t, e.Client, long)
		_, err := sub.Next(t.Context())
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		require.ErrorContains(t, err, "of 11 bytes, at most 10 are allowed by Limits.Key")
		_, err = e.Client.Get(t.Context(), long)
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		mustYield(t, mustSubscribe(t, e.Client, "a"), "v")
		for _, key := range []string{"a", "b"} {
			_, err = e.Client.Subscribe(t.Context(), key, follower.QueueGroup(long))
			require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		}
		require.Zero(t, time.Since(start), "it waits")
	}, limited(clusterclient.Limits{Key: 10}))
}

// A leader that allows less says so of what the one before has served, whose
// values stay, and one that allows more serves it again.
func TestLeadersWithOtherLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("a", "v")
		up.Set("b", "v")
		allows := func(n int) clusterclient.Option {
			return clusterclient.WithLimits(clusterclient.Limits{Subscriptions: n})
		}
		first := cluster.Start(allows(2))
		follows := cluster.Start(asFollower)
		subs := []*follower.Subscription{mustSubscribe(t, follows, "a"), mustSubscribe(t, follows, "b")}
		for _, sub := range subs {
			mustYield(t, sub, "v")
		}
		first.Kill()
		second := cluster.Start(allows(1))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		refused := 0
		for _, sub := range subs {
			_, err := sub.Next(ctx)
			require.Error(t, err)
			if v, _ := sub.Value(); !v.Stale {
				continue
			}
			refused++
			require.ErrorIs(t, err, clusterclient.ErrLimit)
			v := mustBeStale(t, sub)
			require.Equal(t, "v", string(v.Data))
			require.ErrorIs(t, v.Reason, clusterclient.ErrLimit)
		}
		require.Equal(t, 1, refused)
		require.NoError(t, second.Close())
		cluster.Start(allows(2))
		up.Set("a", "w")
		up.Set("b", "w")
		for _, sub := range subs {
			mustYield(t, sub, "w")
		}
	})
}

// Each leader that refuses says so once, and nothing else gets lost for it.
func TestEachLeaderSaysThatItRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("a", "v")
		up.Set("b", "v")
		limits := clusterclient.WithLimits(clusterclient.Limits{Subscriptions: 1, Key: 10})
		first := cluster.Start()
		follows := cluster.Start(asFollower)
		all, err := follows.SubscribeAll(t.Context(), []string{"a", "b"})
		require.NoError(t, err)
		long := mustSubscribe(t, follows, strings.Repeat("k", 11))
		require.True(t, mustNext(t, long).Deleted, "this leader serves it")
		synctest.Wait() // and the others
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		for range 2 {
			first.Kill()
			first = cluster.Start(limits)
			_, err := long.Next(ctx)
			require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		}
		synctest.Wait()
		var said []string
		for range 3 { // two values, which nobody has read so far
			v, err := all.Next(ctx)
			said = append(said, v.Key)
			require.True(t, err == nil || errors.Is(err, clusterclient.ErrLimit), err)
		}
		require.ElementsMatch(t, []string{"a", "b", ""}, said)
	})
}
