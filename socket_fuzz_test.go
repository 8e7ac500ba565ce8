//go:build linux

package clusterclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// FuzzSocket sends whatever comes to the port of a leader, which has to go on
// leading, and to answer its follower. Besides what strangers say, it begins
// with what a follower says.
func FuzzSocket(f *testing.F) {
	dir, port, up := shortDir(f), freePort(f), clustertest.NewUpstream()
	up.Set("k", "v")
	up.Methods = func(r *leader.Registry) {
		leader.Handle(r, "echo", func(_ context.Context, in string) (string, error) { return in, nil })
	}
	leads := realClient(f, port, up, clusterclient.WithRuntimeDir(dir))
	follows := realClient(f, port, up, clusterclient.WithRuntimeDir(dir), asFollower)
	address := leads.Status().Address
	term := leads.Status().Term

	f.Add([]byte{})
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))
	f.Add(append([]byte("CLUSTERCLIENT-PROOF1\r\n\r\n\x01"), make([]byte, 100)...))
	f.Add([]byte(http2Preface + emptySettings + frame(1, 5, 1, 3, "\x82\x86\x84")))
	f.Add([]byte(http2Preface + emptySettings + frame(1, 4, 1, 1, "\x82") + frame(3, 0, 1, 4, "\x00\x00\x00\x08")))
	f.Add([]byte(http2Preface + emptySettings + frame(8, 0, 0, 4, "\x7f\xff\xff\xff") + frame(6, 0, 0, 8, "abcdefgh")))
	f.Add(saidByFollower(f, address))
	f.Fuzz(func(t *testing.T, said []byte) {
		conn, err := net.Dial("tcp4", address)
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		_, _ = conn.Write(said)
		_ = conn.(*net.TCPConn).CloseWrite()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		_, err = io.Copy(io.Discard, conn)
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			t.Error("the leader keeps a connection whose other end says nothing more")
		}
		got, err := clusterclient.Invoke[string, string](t.Context(), follows, "echo", "x")
		require.NoError(t, err)
		require.Equal(t, "x", got)
		require.Equal(t, clusterclient.RoleLeader, leads.Status().Role)
		require.Equal(t, term, leads.Status().Term)
	})
}

// saidByFollower returns what goes over the socket when a session begins.
func saidByFollower(f *testing.F, address string) []byte {
	var said recording
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
			return recorded{c, &said}, err
		}))
	require.NoError(f, err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := clusterclientv1.NewClusterClientServiceClient(conn).Session(ctx)
	require.NoError(f, err)
	require.NoError(f, stream.Send(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{helloFrame(1), subscribeFrame(2), callFrame(2)}}))
	_, err = stream.Recv()
	require.NoError(f, err)
	require.NoError(f, conn.Close())
	return said.all()
}

// A recording is what was written to a connection.
type recording struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *recording) all() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.buf.Bytes())
}

type recorded struct {
	net.Conn
	to *recording
}

func (r recorded) Write(b []byte) (int, error) {
	r.to.mu.Lock()
	r.to.buf.Write(b)
	r.to.mu.Unlock()
	return r.Conn.Write(b)
}
