package clusterclient_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// A leader that is busy, or whose host is, is waited for: it renews its lease, as one
// that hangs does not.
func TestInspectABusyLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		mustStart(t, cluster, "X", up)
		busy := late{Host: cluster.Network.Host(), by: 2 * time.Second}
		report, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(busy))
		require.NoError(t, err)
		require.NotNil(t, report.Names[0].Leadership)
	})
}

// late is the network of a process that hears everything late.
type late struct {
	*clustertest.Host
	by time.Duration
}

func (l late) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := l.Host.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &lateConn{conn, l.by}, nil
}

type lateConn struct {
	net.Conn
	by time.Duration
}

func (c *lateConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(c.by)
	return n, err
}

func (c *lateConn) Ends() (own, other peercred.Peer) {
	own, other, _ = peercred.Of(c.Conn)
	return own, other
}
