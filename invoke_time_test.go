package clusterclient_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// A slowMethod is one called "slow", which runs until its context ends.
type slowMethod struct {
	started  atomic.Int32
	deadline time.Time
	ended    time.Time
	why      error
}

func (m *slowMethod) register(r *leader.Registry) { leader.Handle(r, "slow", m.run) }

func (m *slowMethod) run(ctx context.Context, _ []byte) (any, error) {
	m.started.Add(1)
	m.deadline, _ = ctx.Deadline()
	<-ctx.Done()
	m.ended, m.why = time.Now(), ctx.Err()
	return nil, ctx.Err()
}

// slowly runs test for each role with a slow method of its own.
func slowly(t *testing.T, test func(t *testing.T, e *env, m *slowMethod), opts ...clusterclient.Option) {
	t.Helper()
	var m *slowMethod
	eachRole(t, func(t *testing.T, e *env) { test(t, e, m) }, with(opts...), func(e *env) {
		m = new(slowMethod)
		e.Up.Methods = m.register
	})
}

func TestDeadlineReachesHandler(t *testing.T) {
	slowly(t, func(t *testing.T, e *env, m *slowMethod) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		want, _ := ctx.Deadline()
		err := e.Client.Invoke(ctx, "slow", []byte(nil), nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
		require.NotErrorIs(t, err, clusterclient.ErrNoLeader)
		require.Equal(t, want, time.Now(), "time at which the call ended")
		synctest.Wait()
		require.Equal(t, want.UnixNano(), m.deadline.UnixNano(), "the handler's deadline")
		require.Equal(t, want, m.ended, "time at which the handler's context ended")
	})
}

func TestDefaultCallTimeout(t *testing.T) {
	tests := []struct {
		name string
		opts []clusterclient.Option
		want time.Duration
	}{
		{"default", nil, 30 * time.Second},
		{"option", []clusterclient.Option{clusterclient.WithCallTimeout(4 * time.Second)}, 4 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			slowly(t, func(t *testing.T, e *env, m *slowMethod) {
				began := time.Now()
				err := e.Client.Invoke(context.Background(), "slow", []byte(nil), nil)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, test.want, time.Since(began), "time until the call ended")
				synctest.Wait()
				require.Equal(t, test.want, m.ended.Sub(began), "time until the handler's context ended")

				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began = time.Now()
				require.ErrorIs(t, e.Client.Invoke(ctx, "slow", []byte(nil), nil), context.DeadlineExceeded)
				require.Equal(t, time.Minute, time.Since(began), "time until a call with a deadline ended")
			}, test.opts...)
		})
	}
}

func TestCancelReachesHandler(t *testing.T) {
	slowly(t, func(t *testing.T, e *env, m *slowMethod) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		began := time.Now()
		err := e.Client.Invoke(ctx, "slow", []byte(nil), nil)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, codes.Canceled, status.Code(err), "%v", err)
		require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		require.Equal(t, 2*time.Second, time.Since(began), "time until the call ended")
		synctest.Wait()
		require.Equal(t, 2*time.Second, m.ended.Sub(began), "time until the handler's context ended")
		require.ErrorIs(t, m.why, context.Canceled, "why the handler's context ended")
	})
}

func TestInvokeAfterItsContextEnded(t *testing.T) {
	slowly(t, func(t *testing.T, e *env, m *slowMethod) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("the user went away"))
		err := e.Client.Invoke(ctx, "slow", []byte(nil), nil)
		require.ErrorContains(t, err, "the user went away")
		require.Equal(t, codes.Canceled, status.Code(err), "%v", err)
		require.ErrorIs(t, err, context.Canceled)
		synctest.Wait()
		require.Zero(t, m.started.Load(), "times the handler was started")
	})
}

// overStallable runs test with a follower whose network can be held up.
func overStallable(t *testing.T, test func(t *testing.T, c *clustertest.Node, network *stallable, m *slowMethod)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		up, m := clustertest.NewUpstream(), new(slowMethod)
		up.Methods = func(r *leader.Registry) {
			m.register(r)
			leader.Handle(r, "shared", m.run, leader.Coalesce())
			leader.Handle(r, "quick", func(context.Context, []byte) (any, error) { m.started.Add(1); return nil, nil }, leader.Quick())
			roundTrips(r)
		}
		cluster := clustertest.New(t, up)
		cluster.Start()
		network := newStallable(cluster)
		test(t, cluster.Start(network.option()), network, m)
	})
}

// TestExpiredCallIsNotStarted holds a call up on its way until its deadline
// has passed. That of a oneway call is no more than the time to start it.
func TestExpiredCallIsNotStarted(t *testing.T) {
	called := func(method string) func(context.Context, *clustertest.Node) error {
		return func(ctx context.Context, c *clustertest.Node) error { return c.Invoke(ctx, method, []byte(nil), nil) }
	}
	for name, invoke := range map[string]func(context.Context, *clustertest.Node) error{
		"slow": called("slow"), "quick": called("quick"), "shared": called("shared"),
		"oneway": func(ctx context.Context, c *clustertest.Node) error { return c.InvokeOneway(ctx, "slow", []byte(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			overStallable(t, func(t *testing.T, c *clustertest.Node, network *stallable, m *slowMethod) {
				require.NoError(t, called("quick")(t.Context(), c))
				require.EqualValues(t, 1, m.started.Swap(0))
				network.stall()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, invoke(ctx, c), context.DeadlineExceeded)
				network.release()
				_, err := clusterclient.Invoke[point, point](t.Context(), c.Client, "swap", point{1, 2})
				require.NoError(t, err, "the call after it")
				synctest.Wait()
				require.Zero(t, m.started.Load(), "times the expired call was started")
			})
		})
	}
}

// TestCancelOvertakesNoCall gives a call up while its argument, which is
// large, is still on its way.
func TestCancelOvertakesNoCall(t *testing.T) {
	overStallable(t, func(t *testing.T, c *clustertest.Node, network *stallable, m *slowMethod) {
		network.stall()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := c.Invoke(ctx, "slow", make([]byte, 5<<20), nil)
		require.ErrorIs(t, err, context.Canceled)
		network.release()
		released := time.Now()
		_, err = clusterclient.Invoke[point, point](t.Context(), c.Client, "swap", point{1, 2})
		require.NoError(t, err, "the call after it")
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.started.Load() > 0 {
			require.Equal(t, released, m.ended, "time at which the handler's context ended")
		}
	})
}

func TestInvokeWaitsForLeader(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Methods = roundTrips
		cluster := clustertest.New(t, up)
		first := cluster.Start()
		c := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly)).Client
		first.Kill()
		synctest.Wait()

		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := clusterclient.Invoke[point, point](ctx, c, "swap", point{1, 2})
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, codes.DeadlineExceeded, status.Code(err), "%v", err)
		require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		require.Equal(t, 5*time.Second, time.Since(began), "time until the call gave up")

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = clusterclient.Invoke[point, point](ctx, c, "swap", point{1, 2})
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.Equal(t, codes.Canceled, status.Code(err), "%v", err)

		var starting sync.WaitGroup
		defer starting.Wait()
		starting.Go(func() {
			time.Sleep(10 * time.Second)
			_, err := cluster.TryStart(clustertest.Name)
			assert.NoError(t, err, "start a leader")
		})
		began = time.Now()
		p, err := clusterclient.Invoke[point, point](t.Context(), c, "swap", point{1, 2})
		require.NoError(t, err, "a call that a leader came in time for")
		require.Equal(t, point{2, 1}, p)
		took := time.Since(began)
		require.True(t, took >= 10*time.Second && took < 12*time.Second, "the call took %v, want 10 s and a retry's pause", took)
	})
}

// brittle is a context that cannot be waited for.
type brittle struct{ context.Context }

func (brittle) Done() <-chan struct{} { panic("no channel") }

// A call that its caller's own code breaks off takes nothing from others.
func TestInvokeWithContextThatPanics(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		require.Panics(t, func() { _ = e.Client.Invoke(brittle{t.Context()}, "echo", []byte("never sent"), nil) })
		synctest.Wait()
		start := time.Now()
		mustEcho(t, e, "others")
		require.Less(t, time.Since(start), time.Second, "time behind a call that nobody waits for")
	}, func(e *env) { e.Up.Methods = handleEcho })
}
