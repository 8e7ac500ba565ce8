package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

func TestSubscribersOfAllProcessesShareOneWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		publisher := cluster.Start()
		var subs []*follower.Subscription
		for range 4 {
			sub := mustSubscribe(t, cluster.Start(), "k")
			require.True(t, mustNext(t, sub).Deleted)
			subs = append(subs, sub)
		}
		require.NoError(t, publisher.Publish(t.Context(), "k", []byte("one")))
		for _, sub := range subs {
			mustYield(t, sub, "one")
		}
		require.NoError(t, cluster.Followers()[2].Publish(t.Context(), "k", []byte("two")))
		for _, sub := range subs {
			mustYield(t, sub, "two")
			mustStayQuiet(t, sub)
		}
		require.Equal(t, 1, up.WatchesStarted("k"), "watches of k at the upstream")
		require.Equal(t, 1, up.Opens(), "connections to the upstream")
	})
}

func TestLateSubscriberYieldsNewestAtOnce(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		early := mustSubscribe(t, e.Client, "k")
		mustYield(t, early, "one")
		e.Up.Set("k", "two")
		mustYield(t, early, "two")

		began := time.Now()
		late := mustSubscribe(t, e.Client, "k")
		mustYield(t, late, "two")
		require.Zero(t, time.Since(began), "time until the late subscriber's first value")
		mustStayQuiet(t, early)
		if followers := e.Cluster.Followers(); len(followers) > 0 {
			elsewhere := mustSubscribe(t, followers[0], "k")
			began = time.Now()
			mustYield(t, elsewhere, "two")
			require.Zero(t, time.Since(began), "time until the late subscriber's first value")
		}
		require.Equal(t, 1, e.Up.WatchesStarted("k"), "watches of k at the upstream")
	})
}

func TestSubscriptionsOfOneProcess(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "k1")
		e.Up.Set("other", "o1")
		first, second, other := mustSubscribe(t, e.Client, "k"), mustSubscribe(t, e.Client, "k"), mustSubscribe(t, e.Client, "other")
		mustYield(t, first, "k1")
		mustYield(t, second, "k1")
		mustYield(t, other, "o1")

		require.NoError(t, first.Close())
		e.Up.Set("k", "k2")
		v := mustYield(t, second, "k2")
		require.Equal(t, "k", v.Key)
		mustStayQuiet(t, other)
		_, err := first.Next(t.Context())
		require.ErrorIs(t, err, clusterclient.ErrClosed, "Next of a closed subscription")

		e.Up.Set("other", "o2")
		mustYield(t, other, "o2")
		mustStayQuiet(t, second)
		st := e.Client.Status()
		require.Equal(t, []int{2, 2, 0}, []int{st.Keys, st.Subscriptions, st.StaleKeys}, "keys, subscriptions and stale keys")
	})
}

func TestLinger(t *testing.T) {
	const linger = 30 * time.Second // the default
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		require.NoError(t, sub.Close())
		time.Sleep(linger - time.Millisecond)
		require.Equal(t, 1, e.Up.Watches("k"), "watches within the linger")

		sub = mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		e.Up.Set("k", "one, again")
		mustYield(t, sub, "one, again")
		time.Sleep(2 * linger)
		require.Equal(t, 1, e.Up.Watches("k"), "watches while somebody subscribes")
		require.Equal(t, 1, e.Up.WatchesStarted("k"), "subscribing again within the linger costs the upstream a watch")

		require.NoError(t, sub.Close())
		synctest.Wait()
		time.Sleep(linger + time.Millisecond)
		synctest.Wait()
		require.Zero(t, e.Up.Watches("k"), "watches after the linger")
		e.Up.Set("k", "two")
		sub = mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "two")
		require.Equal(t, 2, e.Up.WatchesStarted("k"), "watches started")
	})
}

func TestLingerOfTheLastProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b := cluster.Start(), cluster.Start()
		here, there := mustSubscribe(t, a, "k"), mustSubscribe(t, b, "k")
		mustYield(t, here, "one")
		mustYield(t, there, "one")
		require.NoError(t, here.Close())
		time.Sleep(longEnough)
		require.Equal(t, 1, up.Watches("k"), "watches while the follower subscribes")
		b.Kill() // nothing unsubscribes
		synctest.Wait()
		require.Equal(t, 1, up.Watches("k"), "watches just after")
		time.Sleep(5*time.Second + time.Millisecond)
		synctest.Wait()
		require.Zero(t, up.Watches("k"), "watches after the linger")
	}, clusterclient.WithLinger(5*time.Second))
}

func TestNoLinger(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		for i := range 10 {
			sub := mustSubscribe(t, e.Client, "k")
			mustYield(t, sub, "one")
			require.NoError(t, sub.Close())
			synctest.Wait()
			require.Zero(t, e.Up.Watches("k"), "watches after Close, round %d", i)
		}
	}, func(e *env) { e.Options = append(e.Options, clusterclient.WithLinger(0)) })
}

// A key that is left and wanted again in one instant is never unsubscribed
// from, as the leader sees it, but the new subscription knows no value.
func TestResubscribeInTheSameInstant(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		for range 100 {
			require.NoError(t, sub.Close())
			sub = mustSubscribe(t, e.Client, "k")
		}
		v := mustYield(t, sub, "one")
		require.False(t, v.Stale, "stale because of: %v", v.Reason)
		require.Equal(t, 1, e.Up.WatchesStarted("k"), "watches started")
		for i := range 100 { // a value on its way meets each state of the key
			e.Up.Set("k", fmt.Sprint(i))
			require.NoError(t, sub.Close())
			sub = mustSubscribe(t, e.Client, "k")
			v = mustNext(t, sub)
		}
		synctest.Wait()
		if string(v.Data) != "99" {
			mustYield(t, sub, "99")
		}
	})
}

func TestSlowReaderSkips(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		slow, quick := mustSubscribe(t, e.Client, "k"), mustSubscribe(t, e.Client, "k")
		require.True(t, mustNext(t, slow).Deleted)
		require.True(t, mustNext(t, quick).Deleted)
		for i := range 1000 {
			e.Up.Set("k", fmt.Sprint(i))
			mustYield(t, quick, fmt.Sprint(i))
		}
		mustYield(t, slow, "999")
		mustStayQuiet(t, slow)
	})
}

func TestEqualValueIsNotYieldedAgain(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.SetVersion("k", "A", "1")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "A")
		e.Up.SetVersion("k", "A", "1")
		mustStayQuiet(t, sub)
		e.Up.SetVersion("k", "B", "2") // not read …
		synctest.Wait()
		e.Up.SetVersion("k", "A", "1") // … before it is A again
		synctest.Wait()
		mustStayQuiet(t, sub)
		e.Up.SetVersion("k", "A", "3")
		require.Equal(t, "3", mustYield(t, sub, "A").Version, "same bytes under another version are another value")
		e.Up.SetVersion("k", "B", "2")
		mustYield(t, sub, "B")
		e.Up.SetVersion("k", "A", "1")
		require.Equal(t, "1", mustYield(t, sub, "A").Version, "a version may go backwards")
	})
}

func TestDeletionIsAValue(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k")
		v := mustNext(t, sub)
		require.True(t, v.Deleted, "a key that does not exist is yielded as %q", v.Data)
		e.Up.Set("k", "one")
		before := mustYield(t, sub, "one")
		e.Up.Delete("k")
		v = mustNext(t, sub)
		require.True(t, v.Deleted)
		require.Empty(t, v.Data)
		require.False(t, v.Stale)
		require.Equal(t, 1, v.Revision.Compare(before.Revision), "%v is not after %v", v.Revision, before.Revision)
		e.Up.Set("k", "")
		v = mustYield(t, sub, "")
		require.False(t, v.Deleted, "the empty value is no deletion")
	})
}

func TestSizes(t *testing.T) {
	const most = 64 << 20
	for _, size := range []int{0, 1, 5 << 20, most} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				a, b := cluster.Start(), cluster.Start()
				want := strings.Repeat("x", size)
				up.Set("k", want)
				for _, c := range []subscriber{a, b} {
					v := mustNext(t, mustSubscribe(t, c, "k"))
					require.True(t, !v.Deleted && string(v.Data) == want, "%d bytes became %d", size, len(v.Data))
				}
			})
		})
	}
}

func TestTooLargeValue(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		tooMuch := make([]byte, 64<<20+1)
		require.ErrorIs(t, e.Client.Publish(t.Context(), "k", tooMuch), clusterclient.ErrTooLarge)
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		e.Up.Set("k", string(tooMuch))
		mustStayQuiet(t, sub)
		v, ok := sub.Value()
		require.True(t, ok && v.Stale, "Value = %v, %v; want a stale one", v, ok)
		require.ErrorContains(t, v.Reason, "67108865 bytes")
		require.ErrorIs(t, v.Reason, clusterclient.ErrTooLarge)
		failing := mustSubscribe(t, e.Client, "k", follower.FailClosed())
		_, err := failing.Next(t.Context())
		require.ErrorIs(t, err, clusterclient.ErrStale)
		require.ErrorIs(t, err, clusterclient.ErrTooLarge, "what FailClosed says")
		e.Up.FailWatches(errors.New("unreachable"))
		synctest.Wait()
		v, _ = sub.Value()
		require.NotErrorIs(t, v.Reason, clusterclient.ErrTooLarge, "the upstream's state is unknown by now")
		e.Up.Set("k", "two")
		e.Up.FailWatches(nil)
		require.False(t, mustYield(t, sub, "two").Stale)
		mustYield(t, failing, "two")

		e.Up.Set("never small", string(tooMuch))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = e.Client.Get(ctx, "never small")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "67108865 bytes")
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
	})
}

func TestSubscriberThatPanicsOrNeverReads(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "0")
		_ = mustSubscribe(t, e.Client, "k") // never read
		well := mustSubscribe(t, e.Client, "k")
		mustYield(t, well, "0")
		panicked := make(chan any, 1)
		go func() {
			defer func() { panicked <- recover() }()
			for _, err := range clusterclient.Watch[int](t.Context(), e.Client, "k") {
				panic(fmt.Sprint("in the loop's body, error: ", err))
			}
		}()
		require.Equal(t, "in the loop's body, error: <nil>", <-panicked)
		synctest.Wait()
		for i := range 100 {
			e.Up.Set("k", fmt.Sprint(i+1))
			mustYield(t, well, fmt.Sprint(i+1))
		}
		require.Equal(t, 2, e.Client.Status().Subscriptions, "the loop that panicked has not unsubscribed")
	})
}

func TestBadKeys(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for name, key := range map[string]string{"empty": "", "too long": strings.Repeat("k", 4097), "not UTF-8": "\xff"} {
			_, err := e.Client.Subscribe(t.Context(), key)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Subscribe of a key that is %s", name)
			_, err = e.Client.Get(t.Context(), key)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Get of a key that is %s", name)
			require.ErrorIs(t, e.Client.Publish(t.Context(), key, nil), clusterclient.ErrInvalid, "Publish of a key that is %s", name)
		}
		for name, opt := range map[string]follower.SubscribeOption{
			"too long": follower.QueueGroup(strings.Repeat("g", 4097)), "not UTF-8": follower.QueueGroup("\xff"), "nil": nil,
		} {
			_, err := e.Client.Subscribe(t.Context(), "k", opt)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Subscribe with a queue group that is %s", name)
		}
		mustNext(t, mustSubscribe(t, e.Client, strings.Repeat("k", 4096)))
		require.Equal(t, 1, e.Client.Status().Keys)
	})
}

// The upstream may use its buffer again once sink has returned.
func TestUpstreamReusesItsBuffer(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		buffer := []byte("one")
		up := &scripted{watch: func(ctx context.Context, _ string, sink func(leader.Update)) error {
			sink(leader.Update{Data: buffer})
			copy(buffer, "xxx")
			<-ctx.Done()
			return ctx.Err()
		}}
		cluster := clustertest.New(t, nil, clusterclient.WithUpstream(up.open))
		mustYield(t, mustSubscribe(t, cluster.Start(), "k"), "one")
	})
}
