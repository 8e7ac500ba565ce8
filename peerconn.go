package clusterclient

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
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
	inside   atomic.Int32 // sessions and calls; changed with acceptor.mu held

	// Guarded by acceptor.mu.
	process  peercred.Process // known with the first session
	place    *list.Element    // among those waiting; nil when inside or gone
	late     *time.Timer
	greeting int  // streams that are about to say hello
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

// greets begins a stream that is about to say hello, and ends with greeted.
// False means that too many are.
func (p *peerConn) greets() bool {
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	if p.greeting == maxGreeting {
		return false
	}
	p.greeting++
	return true
}

func (p *peerConn) greeted() {
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	p.greeting--
}

// enters begins a session of a connection that has said hello, which ends with
// exits. It corrects what hello says of the process where the system knows
// better.
func (p *peerConn) enters(hello *clusterclientv1.Hello) (peerKey, error) {
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
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.process.PID == 0 { // another session may have begun first
		p.process = process
	}
	if said := hello.GetPeer(); said != nil {
		said.Pid = int64(p.process.PID)
	}
	return p.enterLocked()
}

// visits begins a call that needs no hello, which ends with exits.
func (p *peerConn) visits() (peerKey, error) {
	if p == nil {
		return peerKey{}, nil
	}
	p.acceptor.mu.Lock()
	defer p.acceptor.mu.Unlock()
	return p.enterLocked()
}

func (p *peerConn) enterLocked() (peerKey, error) {
	a, key := p.acceptor, peerKey{uid: p.who.UID, pid: p.process.PID, started: p.process.Started}
	if a.inside[key] >= a.limits.Sessions {
		return key, fmt.Errorf("%s has %d sessions already, and no more are allowed by Limits.Sessions", p.process, a.limits.Sessions)
	}
	a.inside[key]++
	p.inside.Add(1)
	p.unplaceLocked()
	return key, nil
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

// exits ends what has begun with key.
func (p *peerConn) exits(key peerKey) {
	if p == nil {
		return
	}
	a := p.acceptor
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.inside[key]--; a.inside[key] == 0 {
		delete(a.inside, key)
	}
	if p.inside.Add(-1) == 0 {
		a.waitLocked(p)
	}
}

// maxUnheard is how much is read of a connection that is let in, while it is not
// inside: a hello, or a call, and what is on its way behind it.
const maxUnheard = 1 << 20

var errUnheard = errors.New("it has said much, and no hello")

// A trackedConn is what gRPC reads and writes. It tells its peerConn when gRPC
// closes it.
type trackedConn struct {
	net.Conn
	p       *peerConn
	unheard int // bytes that were read since it was inside last; the reader's own
}

func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.p.inside.Load() > 0 {
		c.unheard = 0
	} else if c.unheard += n; c.unheard > maxUnheard {
		return 0, errUnheard
	}
	return n, err
}

func (c *trackedConn) Close() error {
	c.p.leaves()
	return c.Conn.Close()
}
