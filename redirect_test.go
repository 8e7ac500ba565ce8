package clusterclient_test

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// portOnly is a network on which nothing but the cluster's port is reached.
type portOnly struct {
	*clustertest.Host
	port string
}

func (n portOnly) Dial(ctx context.Context, address string) (net.Conn, error) {
	if address != n.port {
		return nil, &net.OpError{Op: "dial", Net: "mem", Err: syscall.ECONNREFUSED}
	}
	return n.Host.Dial(ctx, address)
}

func TestRedirectToALeaderThatIsNotReached(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		cluster := clustertest.New(t, clustertest.NewUpstream())
		owner := cluster.Start()
		beside, err := cluster.TryStart("other")
		require.NoError(t, err)
		network := portOnly{cluster.Network.Host(), owner.Status().Address}

		_, err = cluster.TryStart("other", clusterclient.WithNetwork(network), clusterclient.WithMaxWait(5*time.Second))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.NotErrorIs(t, err, clusterclient.ErrForeignListener, "the port's owner answered")
		require.ErrorContains(t, err, "at "+beside.Status().LeaderAddress+" leads the name: nobody listens: dial mem")
		require.NotContains(t, err.Error(), "\n")
	})
}

// liar is a process of this user that sends everybody to another host.
type liar struct {
	clusterclientv1.UnimplementedClusterClientServiceServer
}

func (liar) Session(stream grpc.BidiStreamingServer[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]) error {
	return stream.Send(&clusterclientv1.SessionResponse{Frames: []*clusterclientv1.ResponseFrame{{
		Kind: &clusterclientv1.ResponseFrame_Redirect{Redirect: &clusterclientv1.Redirect{Leader: &clusterclientv1.Peer{Address: "192.0.2.1:17777"}}},
	}}})
}

// Without a secret or TLS nobody is asked who can be on another host, whoever
// says that the leader is there.
func TestRedirectToAnotherHost(t *testing.T) {
	lis, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	clusterclientv1.RegisterClusterClientServiceServer(server, liar{})
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(lis) })
	defer serving.Wait()
	defer server.Stop()
	_, err = clusterclient.Create("test", lis.Addr().(*net.TCPAddr).Port, asFollower, clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
	require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
	require.ErrorContains(t, err, "192.0.2.1:17777 can be reached from other hosts; give all processes the same WithSecret, or WithTLS")
}
