package clusterclient_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// scripted is an upstream whose Watch a test writes itself.
type scripted struct {
	watch   func(ctx context.Context, key string, sink func(leader.Update)) error
	closing func() // may be nil
}

func (s *scripted) open(context.Context) (leader.Upstream, error) { return s, nil }

func (s *scripted) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	return s.watch(ctx, key, sink)
}

func (s *scripted) Close() error {
	if s.closing != nil {
		s.closing()
	}
	return nil
}

// mustBeStale checks the state of the newest value, without waiting.
func mustBeStale(t *testing.T, sub *follower.Subscription) follower.Value {
	t.Helper()
	synctest.Wait()
	v, ok := sub.Value()
	require.True(t, ok, "no value is known")
	require.True(t, v.Stale, "value %q is fresh, want it stale", shorten(v.Data))
	require.Error(t, v.Reason, "a stale value has no reason")
	return v
}

func mustBeFresh(t *testing.T, sub *follower.Subscription) follower.Value {
	t.Helper()
	synctest.Wait()
	v, ok := sub.Value()
	require.True(t, ok, "no value is known")
	require.False(t, v.Stale, "value %q is stale because of: %v", shorten(v.Data), v.Reason)
	require.NoError(t, v.Reason, "a fresh value has a reason to be stale")
	return v
}

func TestWatchFailsAndComesBack(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*clustertest.Upstream)
		want   string // yielded; nothing when empty
	}{
		{name: "unchanged", change: func(*clustertest.Upstream) {}},
		{name: "changed", change: func(up *clustertest.Upstream) { up.Set("k", "two") }, want: "two"},
		{name: "changed twice", change: func(up *clustertest.Upstream) { up.Set("k", "two"); up.Set("k", "three") }, want: "three"},
		{name: "changed and back", change: func(up *clustertest.Upstream) { up.Set("k", "two"); up.SetVersion("k", "one", "1") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				e.Up.Set("k", "one")
				sub := mustSubscribe(t, e.Client, "k")
				require.False(t, mustYield(t, sub, "one").Stale)
				time.Sleep(time.Minute)
				failed := time.Now()
				e.Up.FailWatches(errors.New("certificate has expired"))
				v := mustBeStale(t, sub)
				require.ErrorContains(t, v.Reason, "certificate has expired")
				require.NotErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
				require.Zero(t, v.Since.Sub(failed), "when it turned stale, less when the watch failed")
				require.Equal(t, 1, e.Client.Status().StaleKeys)

				test.change(e.Up)
				mustStayQuiet(t, sub)
				require.Zero(t, mustBeStale(t, sub).Since.Sub(failed), "Since moved while nothing changed")
				e.Up.FailWatches(nil)
				if test.want != "" {
					require.False(t, mustYield(t, sub, test.want).Stale)
				}
				mustStayQuiet(t, sub)
				require.True(t, mustBeFresh(t, sub).Since.After(failed), "when it turned fresh")
				require.Zero(t, e.Client.Status().StaleKeys)
			})
		})
	}
}

func TestStatusTellsOfTheUpstream(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		mustNext(t, mustSubscribe(t, a, "k"))
		require.Equal(t, clusterclient.UpstreamStatus{Open: true, Watches: 1}, a.Status().Upstream)
		up.FailWatches(errors.New("unreachable"))
		synctest.Wait()
		require.Equal(t, clusterclient.UpstreamStatus{Open: true, Watches: 1, StaleKeys: 1, Trouble: "unreachable"}, a.Status().Upstream)
	})
}

func TestStaleWithoutALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start()
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "one")
		time.Sleep(time.Hour)
		killed := time.Now()
		a.Kill()
		v := mustBeStale(t, sub)
		require.ErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
		require.Equal(t, "one", string(v.Data))
		require.Zero(t, v.Since.Sub(killed))
		mustStayQuiet(t, sub)
		require.Zero(t, mustBeStale(t, sub).Since.Sub(killed), "Since moved while nothing changed")
		v, err := b.Get(t.Context(), "k")
		require.NoError(t, err, "Get of a value that is known")
		require.True(t, v.Stale)

		up.FailWatches(errors.New("unreachable"))
		cluster.Start()
		mustStayQuiet(t, sub)
		v = mustBeStale(t, sub)
		require.ErrorContains(t, v.Reason, "unreachable", "the new leader cannot vouch for the value either")
		up.FailWatches(nil)
		mustStayQuiet(t, sub)
		mustBeFresh(t, sub)
	})
}

func TestFirstValueLaterThanTheTimeout(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Hang(true)
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sub.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, `"k"`)
		require.ErrorContains(t, err, "the upstream has not reported a value yet")
		_, ok := sub.Value()
		require.False(t, ok, "a value is known that nobody reported")
		e.Up.Hang(false)
		mustYield(t, sub, "one")

		e.Up.FailWatches(errors.New("certificate has expired"))
		other := mustSubscribe(t, e.Client, "other")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = other.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "certificate has expired")
		e.Up.Set("other", "two")
		e.Up.FailWatches(nil)
		mustYield(t, other, "two")
	})
}

func TestSubscribeBetweenTerms(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		a.Kill()
		synctest.Wait()
		require.Equal(t, clusterclient.RoleNone, b.Role())
		sub := mustSubscribe(t, b, "k")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := sub.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		up.Set("k", "one")
		cluster.Start()
		mustYield(t, sub, "one")
	})
}

func TestWatchThatMisbehaves(t *testing.T) {
	for name, misbehave := range map[string]func(sink func(leader.Update)) error{
		"panics":       func(func(leader.Update)) error { panic("out of luck") },
		"ends at once": func(func(leader.Update)) error { return nil },
		"reports, then panics": func(sink func(leader.Update)) error {
			sink(leader.Update{Data: []byte("early")})
			panic("out of luck")
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				tries := 0
				up := &scripted{watch: func(ctx context.Context, key string, sink func(leader.Update)) error {
					if tries++; key == "bad" && tries <= 10 {
						return misbehave(sink)
					}
					sink(leader.Update{Data: []byte("well")})
					<-ctx.Done()
					return ctx.Err()
				}}
				cluster := clustertest.New(t, nil, clusterclient.WithUpstream(up.open))
				cluster.Start()
				b := cluster.Start()
				sub := mustSubscribe(t, b, "bad")
				var got []string
				for v, err := range sub.Values(t.Context()) {
					require.NoError(t, err)
					if got = append(got, string(v.Data)); string(v.Data) == "well" {
						break
					}
				}
				require.Subset(t, []string{"early", "well"}, got)
				mustBeFresh(t, sub)
				mustYield(t, mustSubscribe(t, b, "good"), "well")
				require.Equal(t, 12, tries, "watches started")
			})
		})
	}
}

// TestWatchesThatReportAndEnd has an upstream that can be read and not be watched:
// it must not be asked without a pause. Each report makes the leader see again,
// and each end makes it blind.
func TestWatchesThatReportAndEnd(t *testing.T) {
	for _, keys := range []int{1, 2, 20} {
		t.Run(strconv.Itoa(keys), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var tries atomic.Int64
				up := &scripted{watch: func(ctx context.Context, key string, sink func(leader.Update)) error {
					if tries.Add(1) > int64(100*60*keys) {
						<-ctx.Done() // else the bubble's time would stand still
					}
					sink(leader.Update{Data: []byte("one")})
					return errors.New("no permission to watch " + key)
				}}
				cluster := clustertest.New(t, nil, clusterclient.WithUpstream(up.open))
				a := cluster.Start()
				var sub *follower.Subscription
				for i := range keys {
					sub = mustSubscribe(t, a, strconv.Itoa(i))
				}
				mustYield(t, sub, "one")
				time.Sleep(time.Minute)
				require.Less(t, tries.Load(), int64(10*60*keys), "watches begun in a minute")
				require.Greater(t, tries.Load(), int64(60*keys), "watches begun in a minute")
			})
		})
	}
}

func TestSinkCalledAfterWatchReturned(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sinks := make(chan func(leader.Update), 10)
		up := &scripted{watch: func(ctx context.Context, _ string, sink func(leader.Update)) error {
			sinks <- sink
			sink(leader.Update{Data: []byte("one")})
			if len(sinks) == 1 {
				return errors.New("first watch is over")
			}
			<-ctx.Done()
			return ctx.Err()
		}}
		cluster := clustertest.New(t, nil, clusterclient.WithUpstream(up.open))
		a := cluster.Start()
		sub := mustSubscribe(t, a, "k")
		mustYield(t, sub, "one")
		mustBeStale(t, sub)
		late := leader.Update{Data: []byte("late")}
		first := <-sinks
		first(late)
		mustStayQuiet(t, sub) // the second watch has begun meanwhile
		first(late)
		mustStayQuiet(t, sub)
		require.Equal(t, "one", string(mustBeFresh(t, sub).Data))
		require.NoError(t, a.Close())
		(<-sinks)(late)
	})
}
