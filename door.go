package clusterclient

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A door is where connections come in. gRPC takes it for transport
// credentials: none of its code sees a byte of a connection before the door
// has let that in.
//
//	arrives ──▶ waiting ──▶ inside ──▶ waiting ──▶ …
//	              │  hello    last session ends
//	              └─▶ shown out: refused, too late, or too many wait
type door struct {
	policy   *gate.Policy
	limits   Limits
	refusals *refusals

	mu      sync.Mutex       // guards what follows, and the guests
	waiting list.List        // of *guest, the one that came first in front
	inside  map[guestKey]int // sessions of each process
}

func newDoor(c *Client) *door {
	return &door{policy: c.policy, limits: c.opts.limits, refusals: &c.refusals, inside: make(map[guestKey]int)}
}

// A guest is a connection from outside of this process.
type guest struct {
	door    *door
	conn    net.Conn
	who     peercred.Peer
	process peercred.Process // known with the first session

	// Guarded by door.mu.
	place    *list.Element // among those waiting; nil when inside or gone
	late     *time.Timer
	sessions int
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

// An outside listener is one whose connections have to pass the door.
type outside struct{ net.Listener }

// arrival is a connection that has not passed the door.
type arrival struct{ net.Conn }

func (l outside) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return arrival{conn}, nil
}

// ServerHandshake lets a connection in, or not.
func (d *door) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	a, ok := raw.(arrival)
	if !ok { // from within this process
		return raw, nil, nil
	}
	g := &guest{door: d, conn: a.Conn, who: peercred.Peer{UID: peercred.Nobody}}
	d.wait(g)
	conn, who, err := d.policy.Accept(a.Conn)
	if err != nil {
		d.refuse(g, who, err)
		gate.Tell(a.Conn, err)
		g.leaves()
		return nil, nil, err
	}
	d.mu.Lock() // it may be shown out at this moment
	g.who = who
	d.mu.Unlock()
	return &guestConn{Conn: conn, g: g}, g, nil
}

// refuse counts those who did not get in, but not those who only looked
// whether somebody listens, nor those who were shown out.
func (d *door) refuse(g *guest, who peercred.Peer, err error) {
	d.mu.Lock()
	waits := g.place != nil
	g.noted = waits
	d.mu.Unlock()
	if waits && !errors.Is(err, io.EOF) && !errors.Is(err, peercred.ErrGone) {
		d.refusals.note(who, g.conn.RemoteAddr(), err)
	}
}

// wait puts a guest in the queue of those who have not said hello, where
// nobody stays long. When too many wait, the one that came first has to go: it
// had the most time.
func (d *door) wait(g *guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.gone {
		return
	}
	g.place = d.waiting.PushBack(g)
	g.late = time.AfterFunc(d.limits.Handshake, func() { d.showOut(g, "has not said hello in time") })
	if d.waiting.Len() > d.limits.Unauthenticated {
		first := d.waiting.Front().Value.(*guest)
		go d.showOut(first, "has not said hello, and too many others wait to do so")
	}
}

func (d *door) showOut(g *guest, why string) {
	d.mu.Lock()
	waits, noted, who := g.place != nil, g.noted, g.who
	g.unplaceLocked()
	d.mu.Unlock()
	switch {
	case !waits:
		return
	case noted: // it is being told
		_ = g.conn.Close()
		return
	}
	if !who.Told() { // it has not come so far
		_, who, _ = peercred.Of(g.conn)
	}
	from := g.conn.RemoteAddr()
	_ = g.conn.Close()
	d.refusals.note(who, from, errors.New(why))
}

func (g *guest) unplaceLocked() {
	if g.place != nil {
		g.door.waiting.Remove(g.place)
		g.place = nil
		g.late.Stop()
	}
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
		return fmt.Errorf("%s has %d sessions already", process, d.limits.Sessions)
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

// ClientHandshake is not used: the gate at the dialling end is passed before
// gRPC gets the connection.
func (d *door) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return raw, nil, nil
}

// Info describes the door to gRPC.
func (d *door) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "clusterclient"}
}

// Clone returns the door: there is one.
func (d *door) Clone() credentials.TransportCredentials { return d }

// OverrideServerName does nothing.
func (d *door) OverrideServerName(string) error { return nil }
