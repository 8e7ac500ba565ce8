package health_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/health"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

// follow returns a cluster with a leader and a follower that holds a value.
func follow(t *testing.T) (up *clustertest.Upstream, leads, follows *clustertest.Node) {
	t.Helper()
	up = clustertest.NewUpstream()
	up.Set("k", "one")
	cluster := clustertest.New(t, up)
	leads, follows = cluster.Start(), cluster.Start()
	sub, err := follows.Subscribe(t.Context(), "k")
	require.NoError(t, err)
	_, err = sub.Next(t.Context())
	require.NoError(t, err)
	return up, leads, follows
}

func probe(t *testing.T, h http.Handler) (code int, text string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	return w.Code, w.Body.String()
}

func TestProbes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up, leads, follows := follow(t)
		here, there := health.New(leads.Client), health.New(follows.Client)
		lenient := health.New(follows.Client).AllowStale()
		for _, h := range []*health.Health{here, there, lenient} {
			require.NoError(t, h.Err(""))
			require.NoError(t, h.Err(clustertest.Name))
			require.Error(t, h.Err("other"))
		}
		up.FailWatches(errors.New("etcd is gone"))
		synctest.Wait()
		code, text := probe(t, here.Ready())
		require.Equal(t, 503, code)
		require.Contains(t, text, "etcd is gone")
		code, _ = probe(t, there.Ready())
		require.Equal(t, 503, code, "a follower, too, knows that its values are stale")
		code, _ = probe(t, lenient.Ready())
		require.Equal(t, 200, code)
		up.FailWatches(nil)
		time.Sleep(time.Minute) // the watch is tried again
		code, _ = probe(t, there.Ready())
		require.Equal(t, 200, code)
		require.NoError(t, follows.Close())
		code, _ = probe(t, lenient.Ready())
		require.Equal(t, 503, code)
		code, _ = probe(t, lenient.Live())
		require.Equal(t, 200, code)
	})
}

func TestService(t *testing.T) {
	_, leads, _ := follow(t)
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.New(leads.Client))
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = srv.Serve(lis) }()
	t.Cleanup(srv.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	c := healthpb.NewHealthClient(conn)

	got, err := c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: clustertest.Name})
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, got.GetStatus())
	_, err = c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "other"})
	require.Equal(t, codes.NotFound, status.Code(err))
	watch, err := c.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	require.NoError(t, err)
	got, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_SERVING, got.GetStatus())
	require.NoError(t, leads.Close())
	got, err = watch.Recv()
	require.NoError(t, err)
	require.Equal(t, healthpb.HealthCheckResponse_NOT_SERVING, got.GetStatus())
}
