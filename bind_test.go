package clusterclient_test

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A slowDeath is that of a leader whose connections have ended and whose port
// is still held, as the kernel leaves it for some milliseconds.
type slowDeath struct {
	dying     atomic.Bool
	connected atomic.Int64 // how often somebody connected meanwhile
}

// A mourner is the network of a process that lives through it.
type mourner struct {
	*clustertest.Host
	*slowDeath
}

func (n mourner) Listen(ctx context.Context, address string) (net.Listener, error) {
	if n.dying.Load() {
		return nil, syscall.EADDRINUSE
	}
	return n.Host.Listen(ctx, address)
}

func (n mourner) Dial(ctx context.Context, address string) (net.Conn, error) {
	if n.dying.Load() {
		n.connected.Add(1)
		return nil, syscall.ECONNRESET
	}
	return n.Host.Dial(ctx, address)
}

func TestDyingLeaderIsLeftAlone(t *testing.T) {
	for _, policy := range []clusterclient.RolePolicy{clusterclient.Compete, clusterclient.FollowerOnly} {
		inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
			death := new(slowDeath)
			start := func(policy clusterclient.RolePolicy) *clustertest.Node {
				network := mourner{cluster.Network.Host(), death}
				return cluster.Start(clusterclient.WithNetwork(network), clusterclient.WithRole(policy))
			}
			leader, other := cluster.Start(), start(policy)
			start(clusterclient.Compete)

			up.Set("k", "v")
			sub := mustSubscribe(t, other, "k")
			first := mustYield(t, sub, "v")
			death.dying.Store(true)
			leader.Kill()
			time.Sleep(5 * time.Millisecond)
			death.dying.Store(false)
			up.Set("k", "w")
			require.Greater(t, mustYield(t, sub, "w").Revision.Term, first.Revision.Term)
			require.Zero(t, death.connected.Load(), "connections to a leader that was dying")
		})
	}
}
