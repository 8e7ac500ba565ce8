package clustertest_test

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

func TestCluster(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		cluster := clustertest.New(t, up)
		require.Nil(t, cluster.Leader())
		a, b, c := cluster.Start(), cluster.Start(), cluster.Start()
		require.Equal(t, a, cluster.Leader())
		require.Equal(t, []*clustertest.Node{b, c}, cluster.Followers())
		require.Equal(t, 1, up.Connections())
		_, err := clusterclient.Get[[]byte](t.Context(), b.Client, "k")
		require.ErrorIs(t, err, clusterclient.ErrDeleted)
		a.Kill()
		require.Zero(t, up.Connections(), "a process that was killed is connected still")
		time.Sleep(100 * time.Millisecond) // a takeover takes some
		synctest.Wait()
		require.Len(t, cluster.Followers(), 1)
		require.NotNil(t, cluster.Leader())
		require.Equal(t, []int{2, 1, 0}, []int{up.Opens(), up.WatchesStarted("k"), up.Watches("k")}, "nobody subscribes, so nobody watches")
	})
}

// A process that is killed can open nothing any more, and all that it had open
// is closed.
func TestHostIsKilled(t *testing.T) {
	var network clustertest.Network
	a, b := network.Host(), network.Host()
	lis, err := a.Listen(t.Context(), "127.0.0.1:1")
	require.NoError(t, err)
	_, err = b.Listen(t.Context(), "127.0.0.1:1")
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	_, err = b.Dial(t.Context(), "127.0.0.1:2")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	accepted := make(chan error, 1)
	go func() {
		_, err := lis.Accept()
		accepted <- err
	}()
	conn, err := b.Dial(t.Context(), "127.0.0.1:1")
	require.NoError(t, err)
	require.NoError(t, <-accepted)
	a.Kill()
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err, "a connection to a process that was killed goes on")
	_, err = a.Listen(t.Context(), "127.0.0.1:3")
	require.ErrorIs(t, err, syscall.ENETDOWN)
	lis, err = b.Listen(t.Context(), "127.0.0.1:1")
	require.NoError(t, err, "the address of a process that was killed is not free")
	require.NoError(t, lis.Close())
}
