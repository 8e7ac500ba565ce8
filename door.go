package clusterclient

import (
	"container/list"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/peercred"
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
	shut    bool             // nobody is let in any more
	waiting list.List        // of *guest, the one that came first in front
	inside  map[guestKey]int // sessions of each process
}

func newDoor(c *Client) *door {
	return &door{policy: c.policy, limits: c.opts.limits, refusals: &c.refusals, inside: make(map[guestKey]int)}
}

// An outside listener is one whose connections have to pass the door.
type outside struct{ net.Listener }

// An arrival is a connection from outside.
type arrival struct {
	net.Conn
	g *guest // once it is at the door
}

// SetDeadline notes as well when gRPC, which has a deadline until then, has read
// all that a client of HTTP/2 begins with.
func (a *arrival) SetDeadline(t time.Time) error {
	if t.IsZero() && a.g != nil {
		a.g.arrives()
	}
	return a.Conn.SetDeadline(t)
}

func (l outside) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &arrival{Conn: conn}, nil
}

// ServerHandshake lets a connection in, or not.
func (d *door) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	a, ok := raw.(*arrival)
	if !ok { // from within this process
		return raw, nil, nil
	}
	ctx, out := context.WithCancel(context.Background())
	defer out()
	g := &guest{door: d, conn: a.Conn, out: out, who: peercred.Peer{UID: peercred.Nobody}}
	a.g = g
	if !d.wait(g) {
		return nil, nil, errShut
	}
	conn, who, err := d.policy.Accept(ctx, a.Conn)
	d.mu.Lock() // it may be shown out at this moment
	g.judged = true
	if err == nil {
		g.who = who
	}
	d.mu.Unlock()
	if err != nil {
		d.refuse(g, who, err)
		gate.Tell(a.Conn, err)
		g.leaves()
		return nil, nil, err
	}
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
// had the most time. It returns false when the guest came too late.
func (d *door) wait(g *guest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.gone || d.shut && !g.judged {
		return false
	}
	g.place = d.waiting.PushBack(g)
	g.late = time.AfterFunc(d.limits.Handshake, func() { d.showOut(g, "has not said hello in time") })
	if d.waiting.Len() > d.limits.Unauthenticated {
		first := d.waiting.Front().Value.(*guest)
		go d.showOut(first, "has not said hello, and too many others wait to do so")
	}
	return true
}

var errShut = errors.New("the leader is leaving")

// close ends what is at the gate, or has passed it and not begun to speak HTTP/2:
// gRPC would wait for them before it stops, and so anybody could keep a leader
// from leaving. Whoever is inside stays.
func (d *door) close() {
	d.mu.Lock()
	d.shut = true
	var at []*guest
	for e := d.waiting.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); !g.arrived {
			at = append(at, g)
		}
	}
	for _, g := range at {
		g.unplaceLocked()
	}
	d.mu.Unlock()
	for _, g := range at {
		g.close()
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
		g.close()
		return
	}
	if !who.Told() { // it has not come so far
		_, who, _ = peercred.Of(g.conn)
	}
	from := g.conn.RemoteAddr()
	g.close()
	d.refusals.note(who, from, errors.New(why))
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
