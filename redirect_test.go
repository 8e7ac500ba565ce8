package clusterclient_test

import (
	"context"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
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
	synctest.Test(t, func(t *testing.T) {
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
