package processtest

import (
	"context"
	"net"
	"time"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

// A slowNetwork is the loopback interface for a process that takes no more
// than so many bytes a second from each connection that it makes.
type slowNetwork int

func (n slowNetwork) Listen(ctx context.Context, address string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", address)
}

func (n slowNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return slowConn{conn, n}, nil
}

type slowConn struct {
	net.Conn
	perSecond slowNetwork
}

func (c slowConn) Read(b []byte) (int, error) {
	const atOnce = 16 << 10
	n, err := c.Conn.Read(b[:min(len(b), atOnce)])
	time.Sleep(time.Second * time.Duration(n) / time.Duration(c.perSecond))
	return n, err
}

// Ends tells who is at either end, which nothing could be told of else.
func (c slowConn) Ends() (own, other peercred.Peer) {
	own, other, _ = peercred.Of(c.Conn)
	return own, other
}
