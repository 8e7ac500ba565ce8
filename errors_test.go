package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// failures are ways to get an error, from a client whose leader is lead.
var failures = []struct {
	name       string
	text       string // PID stands for the process
	is         []error
	code       codes.Code
	fromLeader bool
	fail       func(ctx context.Context, c *clusterclient.Client, lead *clustertest.Node) error
}{
	{
		"unknown method", `clusterclient: invoke "nosuch" (cluster "test"): rpc error: code = Unimplemented desc = the leader has no method "nosuch"`,
		nil, codes.Unimplemented, true,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			return c.Invoke(ctx, "nosuch", nil, nil)
		},
	},
	{
		"handler", `clusterclient: invoke "fail" (cluster "test"): rpc error: code = Unknown desc = boom`,
		nil, codes.Unknown, true,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			return c.Invoke(ctx, "fail", nil, nil)
		},
	},
	{
		"too large", `clusterclient: publish "k" (cluster "test"): too large: 67108865 bytes, at most 67108864 are allowed`,
		[]error{clusterclient.ErrTooLarge},
		codes.ResourceExhausted, false,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			return c.Publish(ctx, "k", make([]byte, maxMessage+1))
		},
	},
	{
		"invalid key", `clusterclient: subscribe (cluster "test"): invalid argument: a key of 0 bytes`,
		[]error{clusterclient.ErrInvalid},
		codes.InvalidArgument, false,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			_, err := c.Subscribe(ctx, "")
			return err
		},
	},
	{
		"invalid argument", `clusterclient: invoke "m" (cluster "test"): invalid argument: encode the argument: json: unsupported type: chan int`,
		[]error{clusterclient.ErrInvalid},
		codes.InvalidArgument, false,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			return c.Invoke(ctx, "m", make(chan int), nil)
		},
	},
	{
		"deadline", `clusterclient: invoke "wait" (cluster "test"): context deadline exceeded`,
		[]error{context.DeadlineExceeded},
		codes.DeadlineExceeded, false,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Invoke(ctx, "wait", nil, nil)
		},
	},
	{
		"no leader",
		`clusterclient: invoke "fail" (cluster "test"): context deadline exceeded while waiting: join (cluster "test"): no leader: ` +
			`waiting for a process that can lead (one with WithUpstream) to listen on 127.0.0.1:17777`,
		[]error{context.DeadlineExceeded, clusterclient.ErrNoLeader},
		codes.DeadlineExceeded, false,
		func(ctx context.Context, c *clusterclient.Client, lead *clustertest.Node) error {
			lead.Kill()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			return c.Invoke(ctx, "fail", nil, nil)
		},
	},
	{
		"leader lost", `clusterclient: invoke "wait" (cluster "test"): leader lost, outcome unknown: the leader was pid PID at 127.0.0.1:17777: error reading from server: EOF`,
		[]error{clusterclient.ErrOutcomeUnknown},
		codes.Unknown, false,
		func(ctx context.Context, c *clusterclient.Client, lead *clustertest.Node) error {
			time.AfterFunc(time.Second, lead.Kill)
			return c.Invoke(ctx, "wait", nil, nil)
		},
	},
	{
		"closed", `clusterclient: publish "k" (cluster "test"): closed`,
		[]error{clusterclient.ErrClosed},
		codes.Canceled, false,
		func(ctx context.Context, c *clusterclient.Client, _ *clustertest.Node) error {
			_ = c.Close()
			return c.Publish(ctx, "k", []byte("x"))
		},
	},
	{
		"no candidate", `clusterclient: resign (cluster "test"): nobody else can lead: followers: 1, of which with an upstream: 0`,
		[]error{clusterclient.ErrNoCandidate},
		codes.FailedPrecondition, false,
		func(ctx context.Context, _ *clusterclient.Client, lead *clustertest.Node) error {
			return lead.Resign(ctx)
		},
	},
}

// allSentinels is every sentinel that an operation of a client can end with.
var allSentinels = []error{
	clusterclient.ErrClosed, clusterclient.ErrNoLeader, clusterclient.ErrLeadershipTaken, clusterclient.ErrIdentityMismatch,
	clusterclient.ErrForeignListener, clusterclient.ErrOutcomeUnknown, clusterclient.ErrTooLarge, clusterclient.ErrInvalid,
	clusterclient.ErrNoCandidate, clusterclient.ErrDeleted, context.DeadlineExceeded, context.Canceled,
}

func TestErrors(t *testing.T) {
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = func(r *leader.Registry) {
					leader.Handle(r, "fail", func(context.Context, any) (any, error) { return nil, errors.New("boom") })
					leader.Handle(r, "wait", func(ctx context.Context, _ any) (any, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					})
				}
				lead := cluster.Start()
				c := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly)).Client
				requireFailure(t, f.fail(t.Context(), c, lead), f.text, f.code, f.fromLeader, f.is...)
			})
		})
	}
}

// requireFailure checks all that a program can see of err.
func requireFailure(t *testing.T, err error, text string, code codes.Code, fromLeader bool, is ...error) {
	t.Helper()
	require.EqualError(t, err, strings.ReplaceAll(text, "PID", fmt.Sprint(os.Getpid())))
	for _, s := range allSentinels {
		require.Equal(t, slices.Contains(is, s), errors.Is(err, s), "errors.Is(err, %v)", s)
	}
	st, ok := status.FromError(err)
	require.True(t, ok, "err has a gRPC status")
	require.Equal(t, code, st.Code(), "code of the gRPC status")
	require.Equal(t, fromLeader, clusterclient.FromLeader(err), "FromLeader(err)")
	require.Equal(t, fromLeader, clusterclient.FromLeader(fmt.Errorf("load pets: %w", err)), "FromLeader of a wrapped err")
	e, ok := errors.AsType[*clusterclient.Error](err)
	require.True(t, ok, "err is an *Error")
	require.Equal(t, "test", e.Name, "name of the cluster")
}

func TestErrorsOfCreate(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start(clusterclient.WithIdentity("a"))
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithIdentity("b"))
		requireFailure(t, err, `clusterclient: create (cluster "test"): same name, other identity: pid PID at 127.0.0.1:17777 `+
			`leads this name with another identity; clients of another upstream need another name`,
			codes.FailedPrecondition, false, clusterclient.ErrIdentityMismatch)

		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithIdentity("a"), clusterclient.WithRole(clusterclient.LeaderOnly))
		requireFailure(t, err, `clusterclient: create (cluster "test"): another process leads: pid PID at 127.0.0.1:17777`,
			codes.AlreadyExists, false, clusterclient.ErrLeadershipTaken)
	})
}

func TestErrorOfWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		c := cluster.Start().Client
		_, err := clusterclient.Get[int](t.Context(), c, "k")
		requireFailure(t, err, `clusterclient: get "k" (cluster "test"): key does not exist`, codes.Unknown, false, clusterclient.ErrDeleted)
		up.Set("k", "no number")
		var errs []error
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range clusterclient.Watch[int](ctx, c, "k") {
			errs = append(errs, err)
		}
		require.NotEmpty(t, errs)
		err = errs[len(errs)-2]
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.ErrorContains(t, err, `watch "k" (cluster "test"): invalid argument: version "1" is no int`)
		require.ErrorIs(t, errs[len(errs)-1], context.DeadlineExceeded, "the last error")
	})
}
