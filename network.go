package clusterclient

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"

	"github.com/clusterclient/clusterclient/internal/wire"
)

const (
	// localTimeout bounds how long it takes to connect within this process.
	localTimeout = 3 * time.Second

	dialTimeout = time.Second

	// spareTimeout is for how long a spare connection may wait for a leader:
	// for ever.
	spareTimeout = 100 * 365 * 24 * time.Hour

	// maxHeader is how large the metadata of a stream may be.
	maxHeader = 1 << 20

	// Windows of a stream and a connection. Static ones, since the estimate
	// that gRPC makes of a loopback connection starts low. What is on its way
	// in a session's stream is what a reply waits behind: of what followers
	// ask, a small window holds the pieces of large frames; of what they are
	// told, a leader sends few pieces ahead anyhow, and values flow faster in a
	// large one, each quarter of which is to be given back.
	leaderWindow   = 128 << 10
	followerWindow = 512 << 10
	connWindow     = 4 << 20

	// readBuffer is what a leader has for each follower, idle or not. gRPC's
	// own is twice as large, and half of all that an idle one would cost.
	readBuffer = 16 << 10

	// writeBuffer is what a leader hands to the system at once, and
	// followerReadBuffer what a follower takes: many values, when there are many.
	writeBuffer        = 128 << 10
	followerReadBuffer = 128 << 10
)

// loopback is the [Network] of the host. Addresses are literal, so that "tcp"
// is one kind of it, and never both.
type loopback struct{ road road }

// prepare does what would take its time at a takeover. The function that it
// returns waits for what is still being done.
func (l loopback) prepare() (wait func()) {
	var listening sync.WaitGroup
	listening.Go(expectToListen)
	l.road.sweep()
	return listening.Wait
}

func (l loopback) Listen(ctx context.Context, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, KeepAliveConfig: keepAlive(address)}
	lc.SetMultipathTCP(false) // there is one path
	lis, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return l.road.offer(ctx, freedFirst(lis)), nil
}

func (l loopback) Dial(ctx context.Context, address string) (net.Conn, error) {
	if conn, err := l.road.dial(ctx, address); err == nil {
		return conn, nil
	}
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1, KeepAliveConfig: keepAlive(address)}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if conn.LocalAddr().String() == conn.RemoteAddr().String() {
		// A port inside the ephemeral range with nobody on it: the system
		// picked the very port as the local one and connected it to itself.
		_ = conn.Close()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: conn.RemoteAddr(), Err: syscall.ECONNREFUSED}
	}
	return conn, nil
}

// clientConn returns a gRPC connection over what dial returns, once: when it
// breaks the leader is lost, and gRPC's own reconnecting, which starts after a
// second, must not come into it. Connecting takes no longer than timeout.
func clientConn(timeout time.Duration, dial func(context.Context) (net.Conn, error)) (*grpc.ClientConn, error) {
	var once sync.Once
	return grpc.NewClient("passthrough:///leader",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (conn net.Conn, err error) {
			err = net.ErrClosed
			once.Do(func() { conn, err = dial(ctx) })
			return conn, err
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: timeout}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(wire.MaxFrame), // gRPC's own limit is 4 MiB
			grpc.MaxCallSendMsgSize(wire.MaxFrame),
		),
		grpc.WithReadBufferSize(followerReadBuffer),
		experimental.WithBufferPool(wire.FramePool()),
		grpc.WithInitialWindowSize(followerWindow),
		grpc.WithInitialConnWindowSize(connWindow),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithDisableHealthCheck(),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0), // an idle connection is a session all the same
		// No keepalive: the transport answers it even when the leader hangs,
		// and between processes of one host the kernel reports a death.
	)
}
