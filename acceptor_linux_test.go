package clusterclient_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// Those who are let in and stop where gRPC has to wait for more keep no leader
// from leaving, over real sockets.
func TestSilenceAfterAPrefaceOverTCP(t *testing.T) {
	port := freePort(t)
	leads := realClient(t, port, clustertest.NewUpstream(), clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir),
		clusterclient.WithLimits(clusterclient.Limits{Handshake: time.Hour}))
	var ends []net.Conn
	for i := range 20 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, http2Preface+emptySettings[:i%len(emptySettings)])
		require.NoError(t, err)
		_, err = io.ReadFull(conn, make([]byte, len(emptySettings))) // gRPC has it, and waits
		require.NoError(t, err)
		ends = append(ends, conn)
	}
	left := make(chan error, 1)
	go func() { left <- leads.Close() }()
	select {
	case err := <-left:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "it waits for them")
	}
	for _, conn := range ends {
		_, _ = io.Copy(io.Discard, conn) // returns
	}
}

// Whoever is shown out is told why over real sockets as well.
func TestCrowdedOutOverTCP(t *testing.T) {
	const times = 20
	port := freePort(t)
	realClient(t, port, clustertest.NewUpstream(), clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir),
		clusterclient.WithLimits(clusterclient.Limits{Unauthenticated: 1, Handshake: time.Hour}))
	heard := make(chan string, times)
	for range times {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, http2Preface[:10])
		require.NoError(t, err)
		go func() {
			said, _ := io.ReadAll(conn)
			heard <- string(said)
		}()
	}
	for range times - 1 {
		require.Contains(t, <-heard, "Limits.Unauthenticated")
	}
}
