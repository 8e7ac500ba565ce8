package clusterclient

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/internal/lease"
)

// spareAfter is how long a follower follows before it makes ready for the next
// leader: not while all others connect to this one.
const spareAfter = 100 * time.Millisecond

// A spare is what a follower has ready for the day that its leader is gone:
// gRPC's part of a connection to the next one, and what the lease says of this
// one. At a takeover every process of the host needs that at the same moment,
// and waits for all others.
type spare struct {
	mu   sync.Mutex // guards what follows
	conn *grpc.ClientConn
	give chan net.Conn // one slot, for what conn is to run over
	over bool          // none is wanted any more
	led  lease.Record  // of a leader at the port; the zero Record when it was not read
}

// makeSpare makes ready for the next leader.
func (c *Client) makeSpare() {
	c.spare.makeReady()
	if r, err := c.lease.Read(); err == nil && r.Address == c.address {
		c.spare.mu.Lock()
		c.spare.led = r
		c.spare.mu.Unlock()
	}
}

// led returns what the lease says, as far as it matters to one who has just
// lost a leader at the port, which has been read already: who that was, and
// whether somebody has replaced it, who then has the port.
func (c *Client) led() (r lease.Record, replaced bool) {
	c.spare.mu.Lock()
	r = c.spare.led
	c.spare.led = lease.Record{}
	c.spare.mu.Unlock()
	_, leader, lost := c.term.known()
	if lost && r.Instance == hex.EncodeToString(leader) {
		return r, c.lease.Followed(r)
	}
	r, _ = c.lease.Read() // the zero Record without a lease
	return r, false
}

// forget forgets what the lease said. A leader that was given up may be there
// still, and have the port.
func (s *spare) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.led = lease.Record{}
}

// makeReady makes a connection that waits for what it is to run over, unless
// there is one.
func (s *spare) makeReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil || s.over {
		return
	}
	give := make(chan net.Conn, 1)
	conn, err := clientConn(spareTimeout, func(ctx context.Context) (net.Conn, error) {
		select {
		case raw := <-give:
			return raw, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	if err != nil { // and so it is told when there is a leader
		return
	}
	conn.Connect()
	s.conn, s.give = conn, give
}

// connect returns a connection over raw, which takes no longer than timeout.
func (s *spare) connect(raw net.Conn, timeout time.Duration) (*grpc.ClientConn, error) {
	s.mu.Lock()
	conn, give := s.conn, s.give
	s.conn = nil
	s.mu.Unlock()
	if conn == nil {
		return clientConn(timeout, func(context.Context) (net.Conn, error) { return raw, nil })
	}
	give <- raw
	return conn, nil
}

// drop closes what there is. If it is for good, nothing is made any more.
func (s *spare) drop(forGood bool) {
	s.mu.Lock()
	conn := s.conn
	s.conn, s.over = nil, forGood
	s.mu.Unlock()
	if conn != nil {
		_ = conn.Close()
	}
}
