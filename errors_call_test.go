package clusterclient_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/inspect"
)

// calls is what a program can do with a client, as an error names it.
var calls = []struct {
	op, key string
	do      func(ctx context.Context, e *env) error
}{
	{"subscribe", "k", func(ctx context.Context, e *env) error { _, err := e.Client.Subscribe(ctx, "k"); return err }},
	{"subscribe", "k", func(ctx context.Context, e *env) error {
		_, err := e.Client.Subscribe(ctx, "k", follower.QueueGroup("g"))
		return err
	}},
	{"get", "k", func(ctx context.Context, e *env) error { _, err := e.Client.Get(ctx, "k"); return err }},
	{"get", "k", func(ctx context.Context, e *env) error {
		_, err := clusterclient.Get[int](ctx, e.Client, "k")
		return err
	}},
	{"watch", "k", func(ctx context.Context, e *env) (err error) {
		for _, err = range clusterclient.Watch[[]byte](ctx, e.Client, "k") {
			continue
		}
		return err
	}},
	{"invoke", "m", func(ctx context.Context, e *env) error { return e.Client.Invoke(ctx, "m", nil, nil) }},
	{"invoke", "m", func(ctx context.Context, e *env) error { return e.Client.InvokeOneway(ctx, "m", nil) }},
	{"invoke", "m", func(ctx context.Context, e *env) error {
		_, err := clusterclient.Invoke[int, int](ctx, e.Client, "m", 1)
		return err
	}},
	{"open stream", "/p.S/M", func(ctx context.Context, e *env) error {
		_, err := e.Client.NewStream(ctx, &grpc.StreamDesc{}, "/p.S/M")
		return err
	}},
	{"publish", "k", func(ctx context.Context, e *env) error { return e.Client.Publish(ctx, "k", []byte("x")) }},
	{"register", "k", func(ctx context.Context, e *env) error {
		_, err := e.Client.Register(ctx, "k", []byte("x"))
		return err
	}},
	{"inspect", "", func(ctx context.Context, e *env) error {
		_, err := e.Client.Inspect(ctx, inspect.Everything())
		return err
	}},
	{"explain", "k", func(ctx context.Context, e *env) error { _, err := e.Client.Explain(ctx, "k"); return err }},
}

// requireCall checks that err names op, and that it is is.
func requireCall(t *testing.T, err error, op, key string, is error) {
	t.Helper()
	require.ErrorIs(t, err, is)
	e, ok := err.(*clusterclient.Error) //nolint:errorlint // the one that the caller sees first
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, []string{op, key, "test"}, []string{e.Op, e.Key, e.Name}, "%v", err)
}

// An error names what the program did, not what that is made of; and a context
// that has ended is never taken for something else.
func TestErrorsNameTheCall(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, c := range calls {
			err := c.do(over, e)
			requireCall(t, err, c.op, c.key, context.Canceled)
			require.EqualError(t, errors.Unwrap(err), "context canceled", "%v", err)
		}
		sub, reg := mustSubscribe(t, e.Client, "k"), mustRegister(t, e.Client, "k", "x")
		mustNext(t, sub)
		_, err := e.Client.Get(t.Context(), "")
		requireCall(t, err, "get", "", clusterclient.ErrInvalid)
		_, err = sub.Next(over)
		requireCall(t, err, "next", "k", context.Canceled)
		requireCall(t, reg.Update(over, []byte("y")), "update", "k", context.Canceled)
		requireCall(t, reg.Update(t.Context(), nil), "update", "k", clusterclient.ErrInvalid)

		require.NoError(t, e.Client.Close())
		for _, c := range calls {
			requireCall(t, c.do(t.Context(), e), c.op, c.key, clusterclient.ErrClosed)
		}
		_, err = sub.Next(t.Context())
		requireCall(t, err, "next", "k", clusterclient.ErrClosed)
		requireCall(t, reg.Update(t.Context(), []byte("y")), "update", "k", clusterclient.ErrClosed)
	})
}

// So does one for which there was a value, but none that would do.
func TestErrorsOfGet(t *testing.T) {
	for name, test := range map[string]struct {
		is    error
		text  string
		key   string
		opts  []follower.SubscribeOption
		plant func(up *clustertest.Upstream)
	}{
		"no value": {
			context.DeadlineExceeded, "context deadline exceeded while waiting: the upstream has not answered within 3s: context deadline exceeded", "k", nil,
			func(up *clustertest.Upstream) { up.Hang(true) },
		},
		"too stale": {
			clusterclient.ErrStale, "value too stale: since ", "k",
			[]follower.SubscribeOption{follower.FailClosed()},
			func(up *clustertest.Upstream) { up.FailWatches(errors.New("out of order")) },
		},
		"rejected": {
			clusterclient.ErrRejected, "value rejected by validation", "k",
			[]follower.SubscribeOption{follower.Validate(func(follower.Value) error { return errors.New("bad") })},
			func(*clustertest.Upstream) {},
		},
		"queue group": {clusterclient.ErrInvalid, "hands out updates", "k", []follower.SubscribeOption{follower.QueueGroup("g")}, func(*clustertest.Upstream) {}},
		"no option":   {clusterclient.ErrInvalid, "option 0 is nil", "k", []follower.SubscribeOption{nil}, func(*clustertest.Upstream) {}},
		"not served":  {clusterclient.ErrTooLarge, "", "longer than 8", nil, func(*clustertest.Upstream) {}},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				mustYield(t, mustSubscribe(t, e.Client, "k"), "one")
				test.plant(e.Up)
				if name == "no value" {
					test.key = "other"
				}
				synctest.Wait()
				_, err := e.Client.Get(t.Context(), test.key, test.opts...)
				requireCall(t, err, "get", test.key, test.is)
				require.ErrorContains(t, err, test.text)
				_, err = clusterclient.Get[[]byte](t.Context(), e.Client, test.key, test.opts...)
				requireCall(t, err, "get", test.key, test.is)
			}, func(e *env) {
				e.Up.Set("k", "one")
				e.Options = append(e.Options, clusterclient.WithLimits(clusterclient.Limits{Key: 8}))
			})
		})
	}
}

// Whoever gives up while the leader is asked is told that, and gets what is
// known all the same.
func TestExplainGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		leads, follows := cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		mustYield(t, mustSubscribe(t, follows, "k"), "one")
		leads.Freeze()
		for name, want := range map[string]error{"deadline": context.DeadlineExceeded, "cancel": context.Canceled} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if name == "cancel" {
				time.AfterFunc(time.Second/2, cancel)
			}
			ex, err := follows.Explain(ctx, "k")
			requireCall(t, err, "explain", "k", want)
			require.ErrorContains(t, err, "while waiting: the leader, pid ")
			require.Equal(t, err.Error(), ex.Trouble)
			require.NotNil(t, ex.Here)

			_, err = follows.Inspect(ctx, inspect.Everything())
			requireCall(t, err, "inspect", "", want)
			cancel()
		}
		_, err := follows.Explain(t.Context(), "k") // gives up by itself
		require.NoError(t, err)
		leads.Thaw()
	})
}

// So is whoever asks from outside, before or while it is asked.
func TestInspectionFromOutsideGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads := cluster.Start()
		outside := func(ctx context.Context) map[string]error {
			host := clusterclient.WithNetwork(cluster.Network.Host())
			_, inspected := clusterclient.Inspect(ctx, clustertest.Port, inspect.Everything(), host)
			_, explained := clusterclient.Explain(ctx, clustertest.Name, clustertest.Port, "k", host)
			_, resigned := clusterclient.ResignAt(ctx, clustertest.Name, clustertest.Port, true, host)
			_, created := clusterclient.CreateContext(ctx, clustertest.Name, clustertest.Port, host)
			return map[string]error{"inspect": inspected, "explain": explained, "resign": resigned, "create": created}
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for op, err := range outside(over) {
			e, ok := err.(*clusterclient.Error) //nolint:errorlint // the one that the caller sees first
			require.True(t, ok, "%v", err)
			require.Equal(t, op, e.Op)
			require.EqualError(t, e.Cause, "context canceled")
		}
		leads.Freeze()
		for op := range outside(over) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := outside(ctx)[op]
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded, op)
			require.NotErrorIs(t, err, clusterclient.ErrForeignListener, op)
		}
		leads.Thaw()
	})
}

// What was given is named as wrong in what it was given to.
func TestInvalidInspection(t *testing.T) {
	_, inspected := clusterclient.Inspect(t.Context(), -1, inspect.Everything())
	require.EqualError(t, inspected, "clusterclient: inspect: invalid argument: port -1 is not one from 1 to 65535")
	_, explained := clusterclient.Explain(t.Context(), "c", -1, "k")
	require.EqualError(t, explained, `clusterclient: explain (cluster "c"): invalid argument: port -1 is not one from 1 to 65535`)
	_, resigned := clusterclient.ResignAt(t.Context(), "", 0, false)
	require.EqualError(t, resigned, `clusterclient: resign: invalid argument: the name is empty`)
}
