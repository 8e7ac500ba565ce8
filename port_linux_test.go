package clusterclient_test

import (
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// When the first connection of a leader that was killed ends, its port is free.
func TestProcessPortIsFreedFirst(t *testing.T) {
	for range processtest.Rounds(20, 5) {
		w, dir := processtest.New(t), shortDir(t)
		c := w.Creation()
		c.RuntimeDir = dir
		leader := w.Spawn()
		leader.Must(c)
		ended := make(chan struct{}, 1)
		for range 50 {
			conn, err := net.Dial("unix", sockets(t, dir)[0])
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			go func() {
				_, _ = conn.Read(make([]byte, 1))
				select {
				case ended <- struct{}{}:
				default:
				}
			}()
		}
		leader.Kill()
		<-ended
		lis, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(w.Port)))
		require.NoError(t, err, "the port is held by connections that end")
		require.NoError(t, lis.Close())
	}
}
