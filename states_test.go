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

// mustTurn checks that the next thing that sub yields is its value again, in
// another state.
func mustTurn(t *testing.T, sub *follower.Subscription, stale bool, origin follower.Origin) follower.Value {
	t.Helper()
	v := mustNext(t, sub)
	require.True(t, v.Repeated, "Next yields another value: %q", shorten(v.Data))
	require.Equal(t, stale, v.Stale, "stale; reason: %v", v.Reason)
	require.Equal(t, origin, v.Origin, "origin; stale: %v, reason: %v", v.Stale, v.Reason)
	return v
}

func TestStatesAreYielded(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates())
		plain := mustSubscribe(t, e.Client, "k")
		v := mustYield(t, sub, "one")
		require.Equal(t, follower.OriginLive, v.Origin)
		require.False(t, v.Repeated, "the first value is marked as repeated")
		mustYield(t, plain, "one")

		time.Sleep(time.Hour)
		failed := time.Now()
		e.Up.FailWatches(errors.New("certificate has expired"))
		v = mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorContains(t, v.Reason, "certificate has expired")
		require.Zero(t, v.Since.Sub(failed), "when it turned stale, less when the watch failed")
		require.Equal(t, "one", string(v.Data))
		mustStayQuiet(t, sub)

		e.Up.FailWatches(errors.New("permission denied"))
		v = mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorContains(t, v.Reason, "permission denied", "another reason is another state")
		require.Zero(t, v.Since.Sub(failed), "Since moved with the reason")

		e.Up.FailWatches(nil)
		mustTurn(t, sub, false, follower.OriginLive)
		e.Up.Set("k", "two")
		require.False(t, mustYield(t, sub, "two").Repeated)
		mustYield(t, plain, "two")
		mustStayQuiet(t, plain)
	})
}

func TestStatesAcrossATakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start()
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, b, "k", follower.WithStates())
		before := mustYield(t, sub, "one")
		time.Sleep(time.Hour)
		killed := time.Now()
		a.Kill()
		v := mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
		require.Zero(t, v.Since.Sub(killed))

		up.FailWatches(errors.New("unreachable"))
		cluster.Start()
		for v.Reason.Error() != "unreachable" {
			v = mustTurn(t, sub, true, follower.OriginMemory)
		}
		up.FailWatches(nil)
		v = mustTurn(t, sub, false, follower.OriginLive)
		require.Positive(t, v.Revision.Compare(before.Revision), "the revision is %v, was %v", v.Revision, before.Revision)
	})
}

func TestSilentLeaderMakesValuesStale(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		net := newStallable(cluster)
		cluster.Start(net.listening())
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, b, "k", follower.WithStates())
		mustYield(t, sub, "one")
		time.Sleep(time.Hour + 500*time.Millisecond)
		stalled := time.Now()
		net.stall()
		v := mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
		require.ErrorContains(t, v.Reason, "is silent")
		require.WithinDuration(t, stalled.Add(3*time.Second), time.Now(), time.Second, "when that was noticed")
		require.Zero(t, time.Since(v.Since), "since when it is stale")
		net.release()
		mustTurn(t, sub, false, follower.OriginLive)
	})
}

// mustBeTooStale checks that the next thing that sub yields is ErrStale.
func mustBeTooStale(t *testing.T, sub *follower.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	v, err := sub.Next(ctx)
	require.ErrorIs(t, err, clusterclient.ErrStale, "Next yields %q", shorten(v.Data))
	require.NoError(t, ctx.Err(), "it took a day")
}

func TestMaxStale(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k", follower.MaxStale(10*time.Minute))
		mustYield(t, sub, "one")
		time.Sleep(time.Hour)
		failed := time.Now()
		e.Up.FailWatches(errors.New("unreachable"))
		synctest.Wait()
		v, err := e.Client.Get(t.Context(), "k", follower.MaxStale(10*time.Minute))
		require.NoError(t, err)
		require.True(t, v.Stale)

		mustBeTooStale(t, sub)
		require.Zero(t, time.Since(failed)-10*time.Minute, "when that was said")
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		_, err = sub.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded, "ErrStale is said again")
		require.ErrorIs(t, err, clusterclient.ErrStale, "what is waited for")
		_, err = e.Client.Get(t.Context(), "k", follower.MaxStale(10*time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrStale)
		require.ErrorContains(t, err, "unreachable")

		e.Up.FailWatches(nil)
		require.True(t, mustYield(t, sub, "one").Repeated)
		mustStayQuiet(t, sub)
		e.Up.Set("k", "two")
		require.False(t, mustYield(t, sub, "two").Repeated)
	})
}

func TestFailClosed(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		e.Up.Hang(true)
		sub := mustSubscribe(t, e.Client, "k", follower.FailClosed())
		started := time.Now()
		time.AfterFunc(2*time.Second, func() { e.Up.Hang(false) })
		require.False(t, mustYield(t, sub, "one").Stale)
		require.Equal(t, 2*time.Second, time.Since(started))
		e.Up.FailWatches(errors.New("unreachable"))
		failed := time.Now()
		mustBeTooStale(t, sub)
		require.Zero(t, time.Since(failed))
		_, err := e.Client.Get(t.Context(), "k", follower.FailClosed())
		require.ErrorIs(t, err, clusterclient.ErrStale)
		require.Zero(t, time.Since(failed))
		v, ok := sub.Value()
		require.True(t, ok && v.Stale, "Value hides a stale value")
	})
}

func TestFailClosedBridgesATakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start()
		b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, b, "k", follower.FailClosed())
		mustYield(t, sub, "one")
		a.Kill()
		time.AfterFunc(2*time.Second, func() { cluster.Start() })
		mustStayQuiet(t, sub)
		v, err := b.Get(t.Context(), "k", follower.FailClosed())
		require.NoError(t, err)
		require.False(t, v.Stale)

		cluster.Leader().Kill()
		killed := time.Now()
		mustBeTooStale(t, sub)
		require.Equal(t, 3*time.Second, time.Since(killed))
	})
}

func TestWatchGoesOnAfterStale(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "1")
		a := cluster.Start()
		var got []string
		for v, err := range clusterclient.Watch[int](t.Context(), a.Client, "k", follower.FailClosed()) {
			switch {
			case errors.Is(err, clusterclient.ErrStale):
				got = append(got, "stale")
				up.FailWatches(nil)
			case err != nil:
				require.NoError(t, err)
			case len(got) > 0:
				got = append(got, "again")
			default:
				require.Equal(t, 1, v)
				got = append(got, "one")
				up.FailWatches(errors.New("unreachable"))
			}
			if len(got) == 3 {
				break
			}
		}
		require.Equal(t, []string{"one", "stale", "again"}, got)
	})
}

func TestValidate(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "bad: from the start")
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates(), follower.Validate(func(v follower.Value) error {
			switch {
			case string(v.Data) == "panic":
				panic("out of luck")
			case len(v.Data) > 3 && string(v.Data[:3]) == "bad":
				return errors.New("not what it should be: " + string(v.Data))
			}
			return nil
		}))
		plain := mustSubscribe(t, e.Client, "k")
		mustYield(t, plain, "bad: from the start")
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		_, err := sub.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, clusterclient.ErrRejected)
		require.ErrorContains(t, err, "not what it should be: bad: from the start")
		_, ok := sub.Value()
		require.False(t, ok, "Value returns a value that was rejected")

		e.Up.Set("k", "good")
		good := mustYield(t, sub, "good")
		require.False(t, good.Stale)
		time.Sleep(time.Hour)
		e.Up.Set("k", "bad: later")
		rejected := time.Now()
		v := mustTurn(t, sub, true, follower.OriginMemory)
		require.Equal(t, "good", string(v.Data))
		require.ErrorIs(t, v.Reason, clusterclient.ErrRejected)
		require.ErrorContains(t, v.Reason, "bad: later")
		require.Zero(t, v.Since.Sub(rejected))
		require.Equal(t, v.Stale, mustBeStale(t, sub).Stale)

		e.Up.Set("k", "panic")
		v = mustTurn(t, sub, true, follower.OriginMemory)
		require.ErrorContains(t, v.Reason, "out of luck")
		require.Zero(t, v.Since.Sub(rejected))
		e.Up.Set("k", "good") // in another version
		require.False(t, mustYield(t, sub, "good").Stale)
		e.Up.Set("k", "better")
		v = mustYield(t, sub, "better")
		require.Positive(t, v.Revision.Compare(good.Revision))
	})
}

func TestKeepOnEmpty(t *testing.T) {
	for name, erase := range map[string]func(*clustertest.Upstream){
		"deleted": func(up *clustertest.Upstream) { up.Delete("k") },
		"empty":   func(up *clustertest.Upstream) { up.Set("k", "") },
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				e.Up.Set("k", "one")
				sub := mustSubscribe(t, e.Client, "k", follower.KeepOnEmpty(time.Minute), follower.WithStates())
				slow := mustSubscribe(t, e.Client, "k", follower.KeepOnEmpty(time.Minute))
				first := mustYield(t, sub, "one")
				erased := time.Now()
				erase(e.Up)
				v := mustTurn(t, sub, true, follower.OriginMemory)
				require.Equal(t, "one", string(v.Data))
				require.Zero(t, v.Since.Sub(erased))
				require.ErrorContains(t, v.Reason, "is kept until "+erased.Add(time.Minute).Format(time.TimeOnly))
				require.Equal(t, "one", string(mustNext(t, slow).Data), "what a subscription yields that was late")

				v = mustNext(t, sub)
				require.Equal(t, time.Minute, time.Since(erased), "for how long the value was kept")
				require.Empty(t, v.Data)
				require.False(t, v.Stale)
				require.Positive(t, v.Revision.Compare(first.Revision))
				require.Empty(t, mustNext(t, slow).Data)

				e.Up.Set("k", "two")
				mustYield(t, sub, "two")
				erase(e.Up)
				mustTurn(t, sub, true, follower.OriginMemory)
				e.Up.Set("k", "three")
				mustYield(t, sub, "three")
				mustStayQuiet(t, sub)
			})
		})
	}
}

func TestValidateSeesWhatIsKept(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		var seen []string
		sub := mustSubscribe(t, e.Client, "k", follower.KeepOnEmpty(time.Minute), follower.Validate(func(v follower.Value) error {
			seen = append(seen, string(v.Data))
			if v.Deleted {
				return errors.New("there has to be one")
			}
			return nil
		}))
		mustYield(t, sub, "one")
		e.Up.Delete("k")
		mustStayQuiet(t, sub)
		time.Sleep(longEnough)
		v := mustBeStale(t, sub)
		require.Equal(t, "one", string(v.Data))
		require.ErrorContains(t, v.Reason, "there has to be one")
		require.Equal(t, []string{"one", "one", ""}, seen)
	})
}

func TestOptionsOfSubscriptionsThatMakeNoSense(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		for name, opts := range map[string][]follower.SubscribeOption{
			"negative bound":     {follower.MaxStale(-1)},
			"keep for no time":   {follower.KeepOnEmpty(0)},
			"validate nothing":   {follower.Validate(nil)},
			"group and states":   {follower.QueueGroup("g"), follower.WithStates()},
			"group and maximum":  {follower.QueueGroup("g"), follower.FailClosed()},
			"no option":          {nil},
			"group name too big": {follower.QueueGroup(string(make([]byte, 5000)))},
		} {
			_, err := a.Subscribe(t.Context(), "k", opts...)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, name)
			_, err = a.Get(t.Context(), "k", opts...)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, name)
		}
		_, err := a.Get(t.Context(), "k", follower.QueueGroup("g"))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
	})
}

// TestReasonAfterClose says what the last known value is worth: nobody vouches for
// it any more, however the client had its leader.
func TestReasonAfterClose(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		require.NoError(t, e.Client.Close())
		requireClosed(t, sub)
	})
}

// TestReasonAfterCloseWithoutALeader has lost it before.
func TestReasonAfterCloseWithoutALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		lead, c := cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		sub := mustSubscribe(t, c, "k")
		mustYield(t, sub, "one")
		lead.Kill()
		time.Sleep(longEnough)
		v, _ := sub.Value()
		require.ErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
		require.Equal(t, 1, strings.Count(v.Reason.Error(), "clusterclient:"), "prefixes of %q", v.Reason)
		require.NoError(t, c.Close())
		requireClosed(t, sub)
	})
}

func requireClosed(t *testing.T, sub *follower.Subscription) {
	t.Helper()
	v, ok := sub.Value()
	require.True(t, ok)
	require.True(t, v.Stale)
	require.EqualError(t, v.Reason, `clusterclient: hold "k": closed`)
	require.ErrorIs(t, v.Reason, clusterclient.ErrClosed)
	require.NotErrorIs(t, v.Reason, clusterclient.ErrNoLeader)
}
