package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

func mustSubscribeAll(t *testing.T, c *clusterclient.Client, keys []string, opts ...follower.SubscribeOption) *follower.Subscriptions {
	t.Helper()
	subs, err := c.SubscribeAll(t.Context(), keys, opts...)
	require.NoError(t, err, "SubscribeAll(%q)", keys)
	return subs
}

// mustYieldAll checks what the next values are, one of each key, in any order.
func mustYieldAll(t *testing.T, subs *follower.Subscriptions, want map[string]string) {
	t.Helper()
	got := make(map[string]string)
	for range want {
		v := mustNextOf(t, subs)
		require.NotContains(t, got, v.Key, "a key that was returned already")
		got[v.Key] = string(v.Data)
	}
	require.Equal(t, want, got)
}

func mustNextOf(t *testing.T, subs *follower.Subscriptions) follower.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	v, err := subs.Next(ctx)
	require.NoError(t, err, "Next")
	return v
}

func mustYieldNothing(t *testing.T, subs *follower.Subscriptions) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	v, err := subs.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "Next yields %q of %q, want no value", v.Data, v.Key)
}

func TestSubscribeAll(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, key := range []string{"a", "b", "c"} {
			e.Up.Set(key, key+"1")
		}
		subs := mustSubscribeAll(t, e.Client, []string{"a", "b", "a"})
		mustYieldAll(t, subs, map[string]string{"a": "a1", "b": "b1"})
		mustYieldNothing(t, subs)

		e.Up.Set("b", "b2")
		e.Up.Set("c", "c2")
		mustYieldAll(t, subs, map[string]string{"b": "b2"})
		require.NoError(t, subs.Add("c", "a"))
		mustYieldAll(t, subs, map[string]string{"c": "c2"})
		v, ok := subs.Value("b")
		require.True(t, ok)
		require.Equal(t, "b2", string(v.Data))
		require.Equal(t, "b", v.Key)

		subs.Remove("b", "never there")
		_, ok = subs.Value("b")
		require.False(t, ok, "a key that was removed has a value")
		e.Up.Set("b", "b3")
		e.Up.Set("a", "a3")
		mustYieldAll(t, subs, map[string]string{"a": "a3"})
		synctest.Wait() // the upstream has reported "b3", too
		require.NoError(t, subs.Add("b"))
		mustYieldAll(t, subs, map[string]string{"b": "b3"})
		mustYieldNothing(t, subs)
	})
}

// A reader of many keys that is slow gets the newest value of each, and a key
// that changes all the time keeps no other from its turn.
func TestSubscribeAllMergesAndTakesTurns(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		want := make(map[string]string)
		for i := range 50 {
			want[fmt.Sprint(i)] = ""
			e.Up.Set(fmt.Sprint(i), "")
		}
		keys := slices.Sorted(maps.Keys(want))
		subs := mustSubscribeAll(t, e.Client, keys)
		mustYieldAll(t, subs, want)
		for round := range 10 {
			for _, key := range keys {
				want[key] = fmt.Sprint(round)
				e.Up.Set(key, want[key])
			}
		}
		time.Sleep(time.Second)
		mustYieldAll(t, subs, want)
		mustYieldNothing(t, subs)

		e.Up.Set("busy", "0")
		require.NoError(t, subs.Add("busy"))
		e.Up.Set("7", "at last")
		time.Sleep(time.Second)
		for i := 1; ; i++ {
			require.Less(t, i, 4, "another key waits for its turn")
			if v := mustNextOf(t, subs); v.Key == "7" {
				break
			}
			e.Up.Set("busy", fmt.Sprint(i))
			time.Sleep(time.Second)
		}
	})
}

// What one goroutine in Next leaves, another one takes.
func TestSubscribeAllWithSeveralReaders(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		var keys []string
		for i := range 8 {
			keys = append(keys, fmt.Sprint(i))
			e.Up.Set(keys[i], "")
		}
		subs := mustSubscribeAll(t, e.Client, nil)
		got := make(chan string)
		for range keys { // as many as there are values, each of which takes one
			go func() {
				v, err := subs.Next(t.Context())
				if err != nil {
					v.Key = err.Error()
				}
				got <- v.Key
			}()
		}
		time.Sleep(time.Second)
		require.NoError(t, subs.Add(keys...))
		var all []string
		for range keys {
			all = append(all, <-got)
		}
		slices.Sort(all)
		require.Equal(t, keys, all)
	})
}

func TestSubscribeAllEnds(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		ended := func(subs *follower.Subscriptions) (ended chan error) {
			ended = make(chan error)
			go func() {
				for _, err := range subs.Values(t.Context()) {
					if err != nil {
						ended <- err
					}
				}
				close(ended)
			}()
			time.Sleep(time.Second)
			return ended
		}
		e.Up.Set("k", "v")
		subs := mustSubscribeAll(t, e.Client, []string{"k"})
		over := ended(subs)
		require.NoError(t, subs.Close())
		require.NoError(t, subs.Close())
		require.ErrorIs(t, <-over, clusterclient.ErrClosed)
		_, open := <-over
		require.False(t, open, "Values goes on after Close")
		require.ErrorIs(t, subs.Add("other"), clusterclient.ErrClosed)
		_, ok := subs.Value("k")
		require.False(t, ok)
		time.Sleep(time.Hour)
		require.Zero(t, e.Up.Watches("k"), "watches after Close")

		unread, empty := mustSubscribeAll(t, e.Client, []string{"k"}), mustSubscribeAll(t, e.Client, nil)
		over = ended(empty)
		require.NoError(t, e.Client.Close())
		require.ErrorIs(t, <-over, clusterclient.ErrClosed)
		_, err := unread.Next(t.Context())
		require.ErrorIs(t, err, clusterclient.ErrClosed, "what came before Close is not yielded after it")
		require.ErrorIs(t, unread.Add("other"), clusterclient.ErrClosed)
		_, err = e.Client.SubscribeAll(t.Context(), []string{"k"})
		require.ErrorIs(t, err, clusterclient.ErrClosed)
	})
}

func TestSubscribeAllRefuses(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		_, err := e.Client.SubscribeAll(t.Context(), []string{"good", ""})
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.Zero(t, e.Up.WatchesStarted("good"), "watches, though one of the keys is none")
		_, err = e.Client.SubscribeAll(t.Context(), []string{"k"}, follower.QueueGroup("g"))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		subs := mustSubscribeAll(t, e.Client, []string{"k"})
		require.ErrorIs(t, subs.Add("k2", strings.Repeat("x", 5000)), clusterclient.ErrInvalid)
		_, ok := subs.Value("k2")
		require.False(t, ok, "one key of two was added")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = e.Client.SubscribeAll(ctx, []string{"k"})
		require.ErrorIs(t, err, context.Canceled)
	})
}

// Options hold for each key: what turns up with time alone does so here, too.
func TestSubscribeAllWithOptions(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("a", "1")
		e.Up.Set("b", "1")
		bounded := mustSubscribeAll(t, e.Client, []string{"a", "b"}, follower.MaxStale(time.Minute))
		keeping := mustSubscribeAll(t, e.Client, []string{"a"}, follower.KeepOnEmpty(time.Minute))
		states := mustSubscribeAll(t, e.Client, []string{"a"}, follower.WithStates())
		mustYieldAll(t, bounded, map[string]string{"a": "1", "b": "1"})
		mustYieldAll(t, keeping, map[string]string{"a": "1"})
		mustYieldAll(t, states, map[string]string{"a": "1"})

		failed := time.Now()
		e.Up.FailWatches(errors.New("unreachable"))
		require.True(t, mustNextOf(t, states).Repeated)
		stale := make(map[string]bool)
		for range 2 {
			_, err := bounded.Next(t.Context())
			require.ErrorIs(t, err, clusterclient.ErrStale)
			e, _ := errors.AsType[*clusterclient.Error](err)
			stale[e.Key] = true
		}
		require.Equal(t, map[string]bool{"a": true, "b": true}, stale)
		require.GreaterOrEqual(t, time.Since(failed), time.Minute)
		mustYieldNothing(t, bounded)
		e.Up.FailWatches(nil)
		mustYieldAll(t, bounded, map[string]string{"a": "1", "b": "1"})

		time.Sleep(time.Hour)
		e.Up.Delete("a")
		deleted := time.Now()
		require.True(t, mustNextOf(t, bounded).Deleted)
		v, err := keeping.Next(t.Context())
		require.NoError(t, err)
		require.True(t, v.Deleted, "what is kept was yielded before")
		require.GreaterOrEqual(t, time.Since(deleted), time.Minute)
	})
}

func TestSubscribeAllAcrossTakeovers(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("a", "0")
		up.Set("b", "0")
		cluster.Start()
		c := cluster.Start(followerOnly)
		subs := mustSubscribeAll(t, c.Client, []string{"a", "b"})
		mustYieldAll(t, subs, map[string]string{"a": "0", "b": "0"})
		for round := range 5 {
			cluster.Start()
			cluster.Leader().Kill()
			mustYieldNothing(t, subs) // a takeover alone
			cluster.Start()
			cluster.Leader().Kill()
			up.Set("b", fmt.Sprint(round+1))
			mustYieldAll(t, subs, map[string]string{"b": fmt.Sprint(round + 1)})
		}
	})
}
