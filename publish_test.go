package clusterclient_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

func TestPublishIsAcknowledged(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, want := range []string{"one", "", strings.Repeat("x", 5<<20)} {
			require.NoError(t, e.Client.Publish(t.Context(), "k", []byte(want)))
			got, ok := e.Up.Value("k") // at once: it was acknowledged
			require.True(t, ok && got == want, "k has %d bytes upstream, want %d", len(got), len(want))
		}
	})
}

func TestPublishFails(t *testing.T) {
	tests := []struct {
		err  error
		want *status.Status
	}{
		{errors.New("no quorum"), status.New(codes.Unknown, "no quorum")},
		{status.Error(codes.PermissionDenied, "not you"), status.New(codes.PermissionDenied, "not you")},
		{errDetailed, status.Convert(errDetailed)},
	}
	for _, test := range tests {
		t.Run(test.err.Error(), func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				e.Up.FailPublish(test.err)
				err := e.Client.Publish(t.Context(), "k", []byte("one"))
				require.Equal(t, test.want.String(), status.Convert(err).String())
				require.Len(t, status.Convert(err).Details(), len(test.want.Details()), "details")
				require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
				e.Up.FailPublish(nil)
				require.NoError(t, e.Client.Publish(t.Context(), "k", []byte("one")), "the next one")
			})
		})
	}
}

func TestKeysThatMakeNoSense(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, key := range []string{"", "\xff", strings.Repeat("k", 4097)} {
			err := e.Client.Publish(t.Context(), key, []byte("x"))
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Publish(%.10q)", key)
			_, err = e.Client.Register(t.Context(), key, []byte("x"))
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Register(%.10q)", key)
			_, err = e.Client.Subscribe(t.Context(), key)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Subscribe(%.10q)", key)
		}
		key := strings.Repeat("k", 4096)
		require.NoError(t, e.Client.Publish(t.Context(), key, []byte("one")))
		got, _ := e.Up.Value(key)
		require.Equal(t, "one", got)
	})
}

// bare is an upstream that can only watch.
type bare struct{ leader.Upstream }

func TestUpstreamThatOnlyWatches(t *testing.T) {
	up := clustertest.NewUpstream()
	eachRole(t, func(t *testing.T, e *env) {
		err := e.Client.Publish(t.Context(), "k", []byte("x"))
		require.Equal(t, codes.Unimplemented, status.Code(err), "Publish: %v", err)
		_, err = e.Client.Register(t.Context(), "k", []byte("x"))
		require.Equal(t, codes.Unimplemented, status.Code(err), "Register: %v", err)
		err = e.Client.Invoke(t.Context(), "m", nil, nil)
		require.Equal(t, codes.Unimplemented, status.Code(err), "Invoke: %v", err)
	}, with(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
		u, err := up.Open(ctx)
		return bare{u}, err
	})))
}

// slowPublisher acknowledges nothing; its Publish lasts until its context ends.
type slowPublisher struct {
	leader.Upstream
	began, ended *[]time.Time
}

func (p slowPublisher) Publish(ctx context.Context, _ string, data []byte) error {
	if string(data) == "panic" {
		panic("oh no")
	}
	*p.began = append(*p.began, time.Now())
	<-ctx.Done()
	*p.ended = append(*p.ended, time.Now())
	return ctx.Err()
}

// withSlowPublisher makes e's upstream a slowPublisher.
func withSlowPublisher(began, ended *[]time.Time) func(*env) {
	return func(e *env) {
		*began, *ended = nil, nil
		e.Options = append(e.Options, clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			u, err := e.Up.Open(ctx)
			return slowPublisher{u, began, ended}, err
		}))
	}
}

func TestPublishKeepsItsDeadline(t *testing.T) {
	var began, ended []time.Time
	eachRole(t, func(t *testing.T, e *env) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.ErrorIs(t, e.Client.Publish(ctx, "k", []byte("x")), context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(start), "time until Publish ended")
		synctest.Wait()
		require.Equal(t, []time.Time{start.Add(2 * time.Second)}, ended, "times at which the upstream's context ended")

		require.ErrorIs(t, e.Client.Publish(context.Background(), "k", []byte("x")), context.DeadlineExceeded)
		require.Equal(t, 32*time.Second, time.Since(start), "time until Publish without a deadline ended")

		err := e.Client.Publish(t.Context(), "k", []byte("panic"))
		require.Equal(t, codes.Internal, status.Code(err), "an upstream that panics: %v", err)
	}, withSlowPublisher(&began, &ended))
}

func TestLeaderLostDuringPublish(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var began, ended []time.Time
		e := &env{Up: clustertest.NewUpstream()}
		withSlowPublisher(&began, &ended)(e)
		cluster := clustertest.New(t, e.Up, e.Options...)
		first := cluster.Start()
		cluster.Start()
		caller := cluster.Start()
		start := time.Now()
		time.AfterFunc(time.Second, first.Kill)
		err := caller.Publish(t.Context(), "k", []byte("one"))
		require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
		require.Equal(t, time.Second, time.Since(start), "time until Publish ended: that of the kill")
		synctest.Wait()
		require.Len(t, began, 1, "times that it was published")
	})
}
