//go:build !race

package rawio_test

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/rawio"
)

func TestSocketsAreWrapped(t *testing.T) {
	onSockets(t, func(t *testing.T, own, _ net.Conn) {
		switch own.(type) {
		case *net.TCPConn, *net.UnixConn:
			require.Fail(t, "a socket was left to package net", "%T", own)
		}
	})
}

// TestWriteNow: what there is room for is written, nothing waits, and all of it
// arrives in order, together with what is written otherwise.
func TestWriteNow(t *testing.T) {
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		now := own.(rawio.NowWriter)
		var sent []byte
		for i := 0; ; i++ {
			p := bytes.Repeat([]byte{byte(i)}, 50_000)
			n := now.WriteNow(p)
			sent = append(sent, p[:n]...)
			if n == 0 {
				break
			}
		}
		require.NotEmpty(t, sent)
		rest := []byte("and the rest")
		written := make(chan error, 1)
		go func() {
			_, err := own.Write(rest)
			written <- err
		}()
		got := make([]byte, len(sent)+len(rest))
		_, err := io.ReadFull(other, got)
		require.NoError(t, err)
		require.NoError(t, <-written)
		require.True(t, bytes.Equal(append(sent, rest...), got))
		require.Equal(t, len(rest), now.WriteNow(rest), "there is room again")
		require.Zero(t, now.WriteNow(nil))
		require.NoError(t, own.Close())
		require.Zero(t, now.WriteNow(rest), "of a connection that is closed")
	})
}
