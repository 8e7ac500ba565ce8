package clusterclient

import (
	"container/list"
	"context"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc/peer"

	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A peerConn is a connection from outside of this process.
type peerConn struct {
	acceptor *acceptor
	conn     net.Conn
	out      context.CancelCauseFunc // ends what waits at the gate for more than conn
	who      peercred.Peer
	process  peercred.Process // known with the first session

	// Guarded by acceptor.mu.
	place    *list.Element // among those waiting; nil when inside or gone
	late     *time.Timer
	sessions int
	judged   bool // let in or not
	arrived  bool // gRPC has it
	noted    bool // that it is refused
	gone     bool
}

// A peerKey tells processes apart, a later one with the same pid too, and users
// where the system does not tell which process it is.
type peerKey struct {
	uid, pid int
	started  uint64
}

// AuthType makes a peerConn what gRPC takes for the result of a handshake.
func (p *peerConn) AuthType() string { return "clusterclient" }

// peerConnOf returns the connection that a stream came over, nil for one within
// this process.
func peerConnOf(ctx context.Context) *peerConn {
	if p, ok := peer.FromContext(ctx); ok {
		if c, ok := p.AuthInfo.(*peerConn); ok {
			return c
		}
	}
	return nil
}

func (p *peerConn) close() {
	_ = p.conn.Close()
	p.out(nil)
}

func (p *peerConn) unplaceLocked() {
	if p.place != nil {
		p.acceptor.waiting.Remove(p.place)
		p.place = nil
		p.late.Stop()
	}
}

// arrives is called when gRPC has got the connection.
func (p *peerConn) arrives() {
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	p.arrived = true
}

// leaves is called when the connection is closed.
func (p *peerConn) leaves() {
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	p.gone = true
	p.unplaceLocked()
}

// enters begins a session of a connection that has said hello. It corrects what
// that says of the process where the system knows better.
func (p *peerConn) enters(hello *clusterclientv1.Hello) error {
	if p == nil {
		return nil
	}
	a := p.acceptor
	claimed := int(hello.GetPeer().GetPid())
	a.mu.Lock()
	process := p.process
	a.mu.Unlock()
	if process.PID == 0 {
		process = p.who.Process(claimed)
	}
	if process.PID == 0 && !p.who.Told() {
		process.PID = claimed
	}
	if said := hello.GetPeer(); said != nil {
		said.Pid = int64(process.PID)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.process = process
	if a.inside[p.keyLocked()] >= a.limits.Sessions {
		return fmt.Errorf("%s has %d sessions already, and no more are allowed by Limits.Sessions", process, a.limits.Sessions)
	}
	a.inside[p.keyLocked()]++
	p.sessions++
	p.unplaceLocked()
	return nil
}

func (p *peerConn) keyLocked() peerKey {
	return peerKey{uid: p.who.UID, pid: p.process.PID, started: p.process.Started}
}

// origin is what the leader is told of the process that a session is of.
func (p *peerConn) origin() leader.Origin {
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	return leader.Origin{UID: p.who.UID, Started: p.process.Started, Conn: p.key()}
}

// key tells connections apart; nil stands for all within this process.
func (p *peerConn) key() any {
	if p == nil {
		return nil
	}
	return p
}

// exits ends a session.
func (p *peerConn) exits() {
	if p == nil {
		return
	}
	a := p.acceptor
	a.mu.Lock()
	key := p.keyLocked()
	if a.inside[key]--; a.inside[key] == 0 {
		delete(a.inside, key)
	}
	p.sessions--
	last := p.sessions == 0
	a.mu.Unlock()
	if last {
		a.wait(p)
	}
}

// A trackedConn tells its peerConn when gRPC closes it.
type trackedConn struct {
	net.Conn
	p *peerConn
}

func (c *trackedConn) Close() error {
	c.p.leaves()
	return c.Conn.Close()
}
