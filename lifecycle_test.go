package clusterclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

func TestCreateAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		for round := 1; round <= 3; round++ {
			up.Set("k", fmt.Sprint(round))
			a := cluster.Start()
			require.Equal(t, clusterclient.RoleLeader, a.Role())
			require.Equal(t, round, up.Opens(), "connections made to the upstream")
			mustYield(t, mustSubscribe(t, a, "k"), fmt.Sprint(round))
			require.NoError(t, a.Close())
			require.Zero(t, up.Connections(), "connections that are left after Close")
			require.Zero(t, up.Watches("k"), "watches that are left after Close")
		}
	})
}

// Nothing is left of a client that is closed, whichever role it had and
// however briefly. The bubble itself fails the test for a goroutine that is
// left when it ends; counting them shows that none piles up on the way.
func TestCreateAndCloseManyTimes(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		var opts []clusterclient.Option
		if len(e.Cluster.Followers()) == 0 {
			opts = append(opts, clusterclient.WithSingleProcess())
		}
		var network clustertest.Network // a cluster of its own, unless e.Node leads
		create := func() *clusterclient.Client {
			all := append([]clusterclient.Option{clusterclient.WithNetwork(network.Host()), clusterclient.WithUpstream(e.Up.Open), clusterclient.WithLinger(0)}, opts...)
			c, err := clusterclient.Create("many", clustertest.Port, all...)
			require.NoError(t, err)
			return c
		}
		if e.Client.Role() == clusterclient.RoleFollower {
			first := create() // the others follow it
			defer func() { require.NoError(t, first.Close()) }()
		}
		synctest.Wait()
		before, connections := bubbleGoroutines(), e.Up.Connections()
		for i := range 1000 {
			c := create()
			if i%10 == 0 {
				mustNext(t, mustSubscribe(t, c, "k"))
			}
			require.NoError(t, c.Close())
			if i%100 == 0 {
				synctest.Wait()
				require.Equal(t, before, bubbleGoroutines(), "goroutines after %d clients", i+1)
				require.Equal(t, connections, e.Up.Connections(), "connections to the upstream")
			}
		}
	})
}

// bubbleGoroutines counts the goroutines of the test's bubble: the runtime has
// some, such as the one for finalizers, that come and go.
func bubbleGoroutines() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte(", synctest bubble "))
}

// usedAfterClose calls every method of a client, and of what was made with it.
func usedAfterClose(ctx context.Context, c *clusterclient.Client, sub *follower.Subscription, reg *follower.Registration) map[string]error {
	got := make(map[string]error)
	_, got["Subscribe"] = c.Subscribe(ctx, "k")
	_, got["Subscribe to a group"] = c.Subscribe(ctx, "k", follower.QueueGroup("g"))
	_, got["Get"] = c.Get(ctx, "k")
	got["Publish"] = c.Publish(ctx, "k", []byte("v"))
	got["Invoke"] = c.Invoke(ctx, "wait", nil, nil)
	got["InvokeOneway"] = c.InvokeOneway(ctx, "wait", nil)
	_, got["NewStream"] = c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/pkg.Service/Method")
	_, got["Register"] = c.Register(ctx, "service", []byte("here"))
	got["Resign"] = c.Resign(ctx)
	_, got["Subscription.Next"] = sub.Next(ctx)
	got["Registration.Update"] = reg.Update(ctx, []byte("later"))
	_, got["typed Get"] = clusterclient.Get[string](ctx, c, "k")
	_, got["typed Invoke"] = clusterclient.Invoke[int, int](ctx, c, "wait", 1)
	for _, err := range clusterclient.Watch[string](ctx, c, "k") {
		got["typed Watch"] = err
	}
	for _, err := range sub.Values(ctx) {
		got["Subscription.Values"] = err
	}
	return got
}

func TestClose(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		reg, err := e.Client.Register(t.Context(), "service", []byte("here"))
		require.NoError(t, err)
		underWay := make(chan error, 3)
		go func() {
			_, err := sub.Next(context.Background())
			underWay <- err
		}()
		go func() { underWay <- e.Client.Invoke(context.Background(), "wait", []byte("now"), nil) }()
		go func() {
			other := mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
			_, err := other.Next(context.Background())
			underWay <- err
		}()
		synctest.Wait()

		closed := make(chan error, 10)
		for range cap(closed) {
			go func() { closed <- e.Client.Close() }()
		}
		for range cap(closed) {
			require.NoError(t, <-closed, "Close")
		}
		for range cap(underWay) {
			require.ErrorIs(t, <-underWay, clusterclient.ErrClosed, "what was under way")
		}
		require.Empty(t, e.Up.Registrations(), "what is registered after Close")
		e.Up.Set("k", "two")
		synctest.Wait()
		for method, err := range usedAfterClose(t.Context(), e.Client, sub, reg) {
			require.ErrorIs(t, err, clusterclient.ErrClosed, "%s after Close", method)
		}
		require.NoError(t, e.Client.Close(), "Close again")
		require.NoError(t, sub.Close())
		require.NoError(t, reg.Close())
		require.Equal(t, clusterclient.RoleNone, e.Client.Role())
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "wait", func(ctx context.Context, _ []byte) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
		}
	})
}

// TestUpstreamWhoseCloseDoesNotReturn holds that it holds neither Close up for
// ever nor the next leader.
func TestUpstreamWhoseCloseDoesNotReturn(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func()
		wait time.Duration
		want string
	}{
		{"blocks", func() { time.Sleep(time.Minute) }, 5 * time.Second, "close upstream: it has not returned after 5s"},
		{"ends its goroutine", runtime.Goexit, 0, "close upstream: it called runtime.Goexit"},
		{"panics", func() { panic("out of luck") }, 0, "close upstream: it panicked: out of luck"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				defer time.Sleep(2 * time.Minute) // a bubble has to outlive its goroutines
				a := cluster.Start(clusterclient.WithUpstream((&scripted{closing: test.end}).open))
				b := cluster.Start()
				began := time.Now()
				err := a.Close()
				require.EqualError(t, err, test.want)
				require.Equal(t, test.wait, time.Since(began).Truncate(time.Second), "time that Close took")
				require.Equal(t, err, a.Close(), "Close again")
				mustBecome(t, b, clusterclient.RoleLeader)
			})
		})
	}
}

// TestSpareUpstreamWhoseCloseFails has a follower make ready to lead, in vain.
func TestSpareUpstreamWhoseCloseFails(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		opened := make(chan struct{}, 10)
		b := cluster.Start(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			opened <- struct{}{}
			return &scripted{
				watch:   func(ctx context.Context, _ string, _ func(leader.Update)) error { <-ctx.Done(); return nil },
				closing: func() { panic("out of luck") },
			}, nil
		}))
		mustSubscribe(t, b, "k") // which the upstream of b never reports
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.Resign(ctx), context.DeadlineExceeded)
		require.Len(t, opened, 1)
		synctest.Wait()
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		require.Equal(t, clusterclient.RoleFollower, b.Role())
	})
}

// A value that came before Close and was not looked at is not yielded after.
func TestNextAfterClose(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "one")
		unread, group := mustSubscribe(t, e.Client, "k"), mustSubscribe(t, e.Client, "k", follower.QueueGroup("g"))
		e.Up.Set("k", "two")
		synctest.Wait()
		require.NoError(t, e.Client.Close())
		for _, sub := range []*follower.Subscription{unread, group} {
			v, err := sub.Next(t.Context())
			require.ErrorIs(t, err, clusterclient.ErrClosed, "Next after Close yields %q", v.Data)
		}
	})
}

func TestCreateIsCanceled(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		reason := errors.New("changed my mind")
		for name, opts := range map[string][]clusterclient.Option{
			"opening": {clusterclient.WithUpstream(up.Open)}, "waiting for a leader": nil,
		} {
			up.HangOpen(true)
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(reason) })
			began := time.Now()
			_, err := clusterclient.CreateContext(ctx, "test", clustertest.Port, append(opts, clusterclient.WithNetwork(cluster.Network.Host()))...)
			require.ErrorIs(t, err, reason, name)
			require.Equal(t, time.Second, time.Since(began), "time until Create returned: %s", name)
			up.HangOpen(false)
		}
		require.Zero(t, up.Connections())
		cluster.Start()
	})
}

func TestCloseLetsCallsFinish(t *testing.T) {
	for _, test := range []struct {
		name        string
		takes, wait time.Duration
		want        string // of the error of Close
		gone        bool   // the caller, before that
	}{
		{name: "quick", takes: 2 * time.Second, wait: 2 * time.Second},
		{name: "endless", takes: time.Hour, wait: 10 * time.Second, want: `handlers of ["work"] have not returned`},
		{name: "endless, its caller gone", takes: time.Hour, wait: 10 * time.Second, want: `handlers of ["work"] have not returned`, gone: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = func(r *leader.Registry) {
					leader.Handle(r, "work", func(context.Context, []byte) ([]byte, error) {
						time.Sleep(test.takes)
						return []byte("done"), nil
					})
				}
				defer time.Sleep(test.takes) // a bubble has to outlive its goroutines
				a := cluster.Start()
				b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				worked := make(chan error, 1)
				go func() { worked <- b.Invoke(t.Context(), "work", []byte("now"), nil) }()
				synctest.Wait()
				if test.gone {
					b.Kill()
					synctest.Wait()
				}
				began := time.Now()
				err := a.Close()
				require.Equal(t, test.wait, time.Since(began), "time that Close took")
				if test.want == "" {
					require.NoError(t, err)
					require.NoError(t, <-worked)
				} else {
					require.ErrorContains(t, err, test.want)
					require.Equal(t, err, a.Close(), "Close again")
					require.Error(t, <-worked)
				}
				require.Zero(t, up.Connections())
			})
		})
	}
}
