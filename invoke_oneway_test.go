package clusterclient_test

import (
	"context"
	"errors"
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

func TestOnewayReturnsOnceAccepted(t *testing.T) {
	var ended []time.Time
	eachRole(t, func(t *testing.T, e *env) {
		ended = nil
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		require.NoError(t, e.Client.InvokeOneway(ctx, "long", []byte("x")))
		require.NoError(t, e.Client.InvokeOneway(context.Background(), "long", []byte("x")))
		require.Zero(t, time.Since(began), "time until the calls were handed over")
		cancel() // the caller's context has no part in it any more
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		want := began.Add(time.Minute)
		require.Equal(t, []time.Time{want, want}, ended, "times at which the handlers ended")
		require.Zero(t, e.Cluster.Leader().Status().OnewayFailed, "oneway calls that failed")
	}, offering(func(r *leader.Registry) {
		done := make(chan struct{}, 1) // a mutex
		leader.Handle(r, "long", func(ctx context.Context, _ []byte) (any, error) {
			if _, ok := ctx.Deadline(); ok {
				return nil, errors.New("has a deadline")
			}
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
			}
			done <- struct{}{}
			ended = append(ended, time.Now())
			<-done
			return nil, ctx.Err()
		})
	}))
}

func TestOnewayFailureIsCounted(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, method := range []string{"fail", "panic", "swap"} { // swap takes no bytes
			require.NoError(t, e.Client.InvokeOneway(t.Context(), method, []byte("x")), "InvokeOneway(%q)", method)
		}
		require.NoError(t, e.Client.InvokeOneway(t.Context(), "reverse", []byte("x")))
		synctest.Wait()
		require.EqualValues(t, 3, e.Cluster.Leader().Status().OnewayFailed, "oneway calls that failed")
		p, err := clusterclient.Invoke[point, point](t.Context(), e.Client, "swap", point{1, 2})
		require.NoError(t, err, "a call after those that failed")
		require.Equal(t, point{2, 1}, p)
	}, offering(func(r *leader.Registry) {
		roundTrips(r)
		leader.Handle(r, "fail", func(context.Context, []byte) (any, error) { return nil, errors.New("boom") })
		leader.Handle(r, "panic", func(context.Context, []byte) (any, error) { panic("oh no") })
	}))
}

func TestOnewayNotHandedOver(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		err := e.Client.InvokeOneway(t.Context(), "nosuch", nil)
		require.Equal(t, codes.Unimplemented, status.Code(err), "an unknown method: %v", err)
		require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		err = e.Client.InvokeOneway(t.Context(), "", nil)
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "a method without a name")
		err = e.Client.InvokeOneway(t.Context(), "reverse", make(chan int))
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "an argument that no codec takes")
		require.Zero(t, e.Cluster.Leader().Status().OnewayFailed, "oneway calls that failed")
	}, offering(roundTrips))
}

func TestOnewayCallOutlivesItsCaller(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		goOn, ended := make(chan struct{}), make(chan error, 1)
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "later", func(ctx context.Context, _ string) (string, error) {
				<-goOn
				ended <- ctx.Err()
				return "", nil
			})
		}
		cluster := clustertest.New(t, up)
		cluster.Start()
		caller := cluster.Start()
		require.NoError(t, caller.InvokeOneway(t.Context(), "later", "x"))
		require.NoError(t, caller.Close())
		synctest.Wait()
		close(goOn)
		require.NoError(t, <-ended, "the handler's context after its caller is gone")
	})
}
