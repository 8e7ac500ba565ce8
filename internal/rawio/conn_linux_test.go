//go:build !race

package rawio_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSocketsAreWrapped(t *testing.T) {
	onSockets(t, func(t *testing.T, own, _ net.Conn) {
		switch own.(type) {
		case *net.TCPConn, *net.UnixConn:
			require.Fail(t, "a socket was left to package net", "%T", own)
		}
	})
}
