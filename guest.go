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

// A guest is a connection from outside of this process.
type guest struct {
	door    *door
	conn    net.Conn
	out     context.CancelCauseFunc // ends what waits at the gate for more than conn
	who     peercred.Peer
	process peercred.Process // known with the first session

	// Guarded by door.mu.
	place    *list.Element // among those waiting; nil when inside or gone
	late     *time.Timer
	sessions int
	judged   bool // let in or not
	arrived  bool // gRPC has it
	noted    bool // that it is refused
	gone     bool
}

// guestKey tells processes apart, a later one with the same pid too, and users
// where the system does not tell which process it is.
type guestKey struct {
	uid, pid int
	started  uint64
}

// AuthType makes a guest what gRPC takes for the result of a handshake.
func (g *guest) AuthType() string { return "clusterclient" }

// guestOf returns the connection that a stream came over, nil for one within
// this process.
func guestOf(ctx context.Context) *guest {
	if p, ok := peer.FromContext(ctx); ok {
		if g, ok := p.AuthInfo.(*guest); ok {
			return g
		}
	}
	return nil
}

func (g *guest) close() {
	_ = g.conn.Close()
	g.out(nil)
}

func (g *guest) unplaceLocked() {
	if g.place != nil {
		g.door.waiting.Remove(g.place)
		g.place = nil
		g.late.Stop()
	}
}

// arrives is called when gRPC has got the connection.
func (g *guest) arrives() {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.arrived = true
}

// leaves is called when the connection is closed.
func (g *guest) leaves() {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	g.gone = true
	g.unplaceLocked()
}

// enters begins a session of a guest that has said hello. It corrects what
// that says of the process where the system knows better.
func (g *guest) enters(hello *clusterclientv1.Hello) error {
	if g == nil {
		return nil
	}
	d := g.door
	claimed := int(hello.GetPeer().GetPid())
	d.mu.Lock()
	process := g.process
	d.mu.Unlock()
	if process.PID == 0 {
		process = g.who.Process(claimed)
	}
	if process.PID == 0 && !g.who.Told() {
		process.PID = claimed
	}
	if p := hello.GetPeer(); p != nil {
		p.Pid = int64(process.PID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	g.process = process
	if d.inside[g.keyLocked()] >= d.limits.Sessions {
		return fmt.Errorf("%s has %d sessions already, and no more are allowed by Limits.Sessions", process, d.limits.Sessions)
	}
	d.inside[g.keyLocked()]++
	g.sessions++
	g.unplaceLocked()
	return nil
}

func (g *guest) keyLocked() guestKey {
	return guestKey{uid: g.who.UID, pid: g.process.PID, started: g.process.Started}
}

// origin is what the leader is told of the process that a session is of.
func (g *guest) origin() leader.Origin {
	g.door.mu.Lock()
	defer g.door.mu.Unlock()
	return leader.Origin{UID: g.who.UID, Started: g.process.Started, Conn: g.key()}
}

// key tells connections apart; nil stands for all within this process.
func (g *guest) key() any {
	if g == nil {
		return nil
	}
	return g
}

// exits ends a session.
func (g *guest) exits() {
	if g == nil {
		return
	}
	d := g.door
	d.mu.Lock()
	key := g.keyLocked()
	if d.inside[key]--; d.inside[key] == 0 {
		delete(d.inside, key)
	}
	g.sessions--
	last := g.sessions == 0
	d.mu.Unlock()
	if last {
		d.wait(g)
	}
}

// guestConn tells the guest when gRPC closes its connection.
type guestConn struct {
	net.Conn
	g *guest
}

func (c *guestConn) Close() error {
	c.g.leaves()
	return c.Conn.Close()
}
