package clusterclient_test

import (
	"context"
	"net"
	"sync"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A stallable network is that of one more process of a cluster, whose writes
// the test can hold up.
type stallable struct {
	*clustertest.Host

	mu   sync.Mutex
	open chan struct{} // closed while writes go through
}

func newStallable(cluster *clustertest.Cluster) *stallable {
	s := &stallable{Host: cluster.Network.Host(), open: make(chan struct{})}
	close(s.open)
	return s
}

// option makes a client use s.
func (s *stallable) option() clusterclient.Option { return clusterclient.WithNetwork(s) }

// listening makes a client that leads use s: what its followers are to read is
// held up.
func (s *stallable) listening() clusterclient.Option {
	return clusterclient.WithNetwork(stallableListening{s})
}

type stallableListening struct{ *stallable }

func (s stallableListening) Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := s.Host.Listen(ctx, address)
	return stallableListener{l, s.stallable}, err
}

type stallableListener struct {
	net.Listener
	s *stallable
}

func (l stallableListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &stallableConn{Conn: c, s: l.s, closed: make(chan struct{})}, nil
}

func (s *stallable) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = make(chan struct{})
}

func (s *stallable) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.open)
}

func (s *stallable) gate() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

func (s *stallable) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := s.Host.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	return &stallableConn{Conn: c, s: s, closed: make(chan struct{})}, nil
}

type stallableConn struct {
	net.Conn
	s      *stallable
	once   sync.Once
	closed chan struct{}
}

func (c *stallableConn) Write(b []byte) (int, error) {
	select {
	case <-c.s.gate():
		return c.Conn.Write(b)
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *stallableConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
