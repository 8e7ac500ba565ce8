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
	ctx, out := context.WithCancelCause(context.Background())
	defer out(nil)
	g := &guest{door: d, conn: a.Conn, out: out, who: peercred.Peer{UID: peercred.Nobody}}
	a.g = g
	if !d.wait(g) {
		return nil, nil, errShut
	}
	conn, who, err := d.policy.Accept(ctx, a.Conn)
	d.mu.Lock()
	if err == nil && ctx.Err() != nil { // it was being shown out
		err = d.toldOutside(context.Cause(ctx))
	}
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

// toldOutside returns why somebody is shown out who has just passed the gate, or
// only that, if it would have to be said inside TLS.
func (d *door) toldOutside(why error) error {
	if d.policy.TLS != nil {
		return errLate
	}
	return why
}

var errLate = errors.New("it was shown out")

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
// nobody stays long. When too many wait, one that came first has to go: it
// had the most time. It returns false when the guest came too late.
func (d *door) wait(g *guest) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.gone || d.shut && !g.judged {
		return false
	}
	g.place = d.waiting.PushBack(g)
	g.late = time.AfterFunc(d.limits.Handshake, func() { d.expire(g) })
	if d.waiting.Len() > d.limits.Unauthenticated {
		out := d.superfluousLocked(g)
		out.unplaceLocked()
		go d.showOut(out, fmt.Sprintf("has not said hello, and more than the %d of Limits.Unauthenticated are about to", d.limits.Unauthenticated))
	}
	return true
}

// superfluousLocked returns who has to go for one more: the first that has not
// been let in, so that strangers crowd out no member, or else the first.
func (d *door) superfluousLocked(more *guest) *guest {
	for e := d.waiting.Front(); e != nil; e = e.Next() {
		if g := e.Value.(*guest); g != more && (!g.judged || g.noted) {
			return g
		}
	}
	return d.waiting.Front().Value.(*guest)
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

// expire shows a guest out whose time is over.
func (d *door) expire(g *guest) {
	d.mu.Lock()
	waits := g.place != nil
	g.unplaceLocked()
	d.mu.Unlock()
	if waits {
		d.showOut(g, fmt.Sprintf("has not said hello within the %v of Limits.Handshake", d.limits.Handshake))
	}
}

// showOut ends a connection that waits no more. If nothing has been said to it,
// the gate tells it why on its way out.
func (d *door) showOut(g *guest, why string) {
	d.mu.Lock()
	noted, who := g.noted, g.who
	d.mu.Unlock()
	if noted { // it is being told
		g.close()
		return
	}
	if !who.Told() { // it has not come so far
		_, who, _ = peercred.Of(g.conn)
	}
	from := g.conn.RemoteAddr()
	d.mu.Lock()
	judged := g.judged
	if !judged { // and will not be let in any more
		g.out(&gate.Refusal{Who: "this connection", Why: why, Todo: "clients try again by themselves; the leader's log says who connects", Busy: true})
	}
	d.mu.Unlock()
	if judged {
		g.close()
	} else {
		_ = g.conn.SetReadDeadline(time.Unix(1, 0)) // which ends what the gate does
	}
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
