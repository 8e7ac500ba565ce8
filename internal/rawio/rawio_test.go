package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/rawio"
)

// onSockets runs test with both ends of a connection, of which the first is
// wrapped.
func onSockets(t *testing.T, test func(t *testing.T, own, other net.Conn)) {
	t.Helper()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			own, other := connected(t, network)
			test(t, rawio.Wrap(own), other)
		})
	}
}

func connected(t *testing.T, network string) (own, other net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		if runtime.GOOS == "windows" {
			t.Skip("there are no such sockets")
		}
		address = filepath.Join(t.TempDir(), "s")
	}
	lis, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	require.NoError(t, err)
	defer lis.Close()
	own, err = new(net.Dialer).DialContext(t.Context(), network, lis.Addr().String())
	require.NoError(t, err)
	other, err = lis.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = own.Close(), other.Close() })
	return own, other
}

// TestBothWays moves more than a socket holds, so that both directions have to
// wait, in pieces of all sizes.
func TestBothWays(t *testing.T) {
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		want := make([]byte, 8<<20)
		for i := range want {
			want[i] = byte(i * 31 >> 5)
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { _, _ = io.Copy(other, other) }) // an echo
		wg.Go(func() {
			for rest, size := want, 1; len(rest) > 0; size = size*3/2 + 1 {
				n, err := own.Write(rest[:min(size, len(rest))])
				if err != nil {
					t.Errorf("Write = %d, %v", n, err)
					_ = own.Close()
					return
				}
				rest = rest[n:]
			}
		})
		got := make([]byte, len(want))
		_, err := io.ReadFull(own, got)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "what came back is what was sent")
		require.NoError(t, own.Close())
	})
}

// TestConcurrentWrites holds that the bytes of one Write stay together.
func TestConcurrentWrites(t *testing.T) {
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		const writers, size = 4, 1 << 20
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				if n, err := own.Write(bytes.Repeat([]byte{byte(i)}, size)); n != size || err != nil {
					t.Errorf("Write = %d, %v, want %d", n, err, size)
				}
			})
		}
		got := make([]byte, size)
		for range writers {
			_, err := io.ReadFull(other, got)
			require.NoError(t, err)
			require.Equal(t, size, bytes.Count(got, got[:1]), "bytes of one writer in a row")
		}
		wg.Wait()
	})
}

func TestReadEnds(t *testing.T) {
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		n, err := own.Read(nil)
		require.NoError(t, err)
		require.Zero(t, n)
		_, err = other.Write([]byte("last"))
		require.NoError(t, err)
		require.NoError(t, other.Close())
		got, err := io.ReadAll(own)
		require.NoError(t, err)
		require.Equal(t, "last", string(got))
		_, err = own.Read(make([]byte, 1))
		require.Equal(t, io.EOF, err, "as package net has it: not in another error")
	})
}

func TestDeadline(t *testing.T) {
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		require.NoError(t, own.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := own.Read(make([]byte, 1))
		requireOp(t, err, "read", os.ErrDeadlineExceeded)
		var timeout net.Error
		require.ErrorAs(t, err, &timeout)
		require.True(t, timeout.Timeout())

		require.NoError(t, own.SetWriteDeadline(time.Now().Add(10*time.Millisecond)))
		n, err := own.Write(make([]byte, 64<<20)) // nobody reads
		requireOp(t, err, "write", os.ErrDeadlineExceeded)
		require.Less(t, n, 64<<20)

		require.NoError(t, own.SetDeadline(time.Time{}))
		_, err = other.Write([]byte("x"))
		require.NoError(t, err)
		_, err = own.Read(make([]byte, 1))
		require.NoError(t, err, "the deadline was taken back")
	})
}

func TestClosed(t *testing.T) {
	onSockets(t, func(t *testing.T, own, _ net.Conn) {
		ended := make(chan error)
		go func() {
			_, err := own.Read(make([]byte, 1))
			ended <- err
		}()
		require.NoError(t, own.Close())
		requireOp(t, <-ended, "read", net.ErrClosed)
		_, err := own.Write([]byte("x"))
		requireOp(t, err, "write", net.ErrClosed)
	})
}

func TestOtherEndGone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("errors have other names there")
	}
	onSockets(t, func(t *testing.T, own, other net.Conn) {
		require.NoError(t, other.Close())
		var err error
		for err == nil { // the first may be taken before the refusal comes
			_, err = own.Write([]byte("x"))
		}
		requireOp(t, err, "write", nil)
		require.True(t, errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET), "Write = %v", err)
	})
}

// TestNoSocket holds that everything else is left alone.
func TestNoSocket(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	defer a.Close()
	require.Equal(t, a, rawio.Wrap(a))
}

// requireOp holds that err says what was done, and why it did not work, in one
// layer.
func requireOp(t *testing.T, err error, op string, why error) {
	t.Helper()
	e, ok := errors.AsType[*net.OpError](err)
	require.True(t, ok, "%v is an OpError", err)
	require.Equal(t, op, e.Op)
	_, twice := errors.AsType[*net.OpError](e.Err)
	require.False(t, twice, "%v is said in one layer", err)
	if why != nil {
		require.ErrorIs(t, err, why)
	}
}
