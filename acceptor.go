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

// An acceptor is where connections come in. gRPC takes it for transport
// credentials: none of its code sees a byte of a connection before the acceptor
// has let that in.
//
//	arrives ──▶ waiting ──▶ inside ──▶ waiting ──▶ …
//	              │  hello    last session ends
//	              └─▶ shown out: refused, too late, or too many wait
type acceptor struct {
	policy   *gate.Policy
	limits   Limits
	refusals *refusals
	lane     func(session []byte, uid int, conn net.Conn) bool // takes a lane, which it may refuse

	mu      sync.Mutex      // guards what follows, and the connections
	shut    bool            // nobody is let in any more
	waiting list.List       // of *peerConn, the one that came first in front
	inside  map[peerKey]int // sessions and calls of each process
}

func newAcceptor(c *Client, lane func([]byte, int, net.Conn) bool) *acceptor {
	return &acceptor{policy: c.policy, limits: c.opts.limits, refusals: &c.refusals, lane: lane, inside: make(map[peerKey]int)}
}

// An outside listener is one whose connections have to pass the acceptor.
type outside struct{ net.Listener }

// An arrival is a connection from outside.
type arrival struct {
	net.Conn
	p *peerConn // once it is at the acceptor
}

// SetDeadline notes as well when gRPC, which has a deadline until then, has read
// all that a client of HTTP/2 begins with.
func (a *arrival) SetDeadline(t time.Time) error {
	if t.IsZero() && a.p != nil {
		a.p.arrives()
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
func (a *acceptor) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	in, ok := raw.(*arrival)
	if !ok { // from within this process
		return raw, nil, nil
	}
	ctx, out := context.WithCancelCause(context.Background())
	defer out(nil)
	p := &peerConn{acceptor: a, conn: in.Conn, out: out, who: peercred.Peer{UID: peercred.Nobody}}
	in.p = p
	if !a.wait(p) {
		return nil, nil, errShut
	}
	conn, who, err := a.policy.Accept(ctx, in.Conn)
	a.mu.Lock()
	if err == nil && ctx.Err() != nil { // it was being shown out
		err = a.toldOutside(context.Cause(ctx))
	}
	p.judged = true
	if err == nil {
		p.who = who
	}
	a.mu.Unlock()
	if lane, ok := conn.(*gate.Lane); ok && err == nil {
		if err = a.turnOff(lane, p); err == nil {
			return nil, nil, credentials.ErrConnDispatched
		}
	}
	if err != nil {
		a.refuse(p, who, err)
		gate.Tell(in.Conn, err)
		p.leaves()
		return nil, nil, err
	}
	return &trackedConn{Conn: conn, p: p}, p, nil
}

// toldOutside returns why somebody is shown out who has just passed the gate, or
// only that, if it would have to be said inside TLS.
func (a *acceptor) toldOutside(why error) error {
	if a.policy.TLS != nil {
		return errLate
	}
	return why
}

var errLate = errors.New("it was shown out")

// refuse counts those who did not get in, but not those who only looked
// whether somebody listens, nor those who were shown out.
func (a *acceptor) refuse(p *peerConn, who peercred.Peer, err error) {
	a.mu.Lock()
	waits := p.place != nil
	p.noted = waits
	a.mu.Unlock()
	if waits && !errors.Is(err, io.EOF) && !errors.Is(err, peercred.ErrGone) {
		a.refusals.note(who, p.conn.RemoteAddr(), err)
	}
}

// wait puts a connection in the queue of those who are not inside, where
// nobody stays long. When too many wait, one that came first has to go: it
// had the most time. It returns false when the connection came too late.
func (a *acceptor) wait(p *peerConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waitLocked(p)
}

func (a *acceptor) waitLocked(p *peerConn) bool {
	if p.gone || a.shut && !p.judged {
		return false
	}
	place := a.waiting.PushBack(p)
	p.place = place
	p.late = time.AfterFunc(a.limits.Handshake, func() { a.expire(p, place) })
	if a.waiting.Len() > a.limits.Unauthenticated {
		out := a.superfluousLocked(p)
		out.unplaceLocked()
		go a.showOut(out, fmt.Sprintf("has not said hello, and more than the %d of Limits.Unauthenticated are about to", a.limits.Unauthenticated))
	}
	return true
}

// superfluousLocked returns who has to go for one more: the first that has not
// been let in, so that strangers crowd out no member, or else the first.
func (a *acceptor) superfluousLocked(more *peerConn) *peerConn {
	for e := a.waiting.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*peerConn); p != more && (!p.judged || p.noted) {
			return p
		}
	}
	return a.waiting.Front().Value.(*peerConn)
}

var errShut = errors.New("the leader is leaving")

// close ends what is at the gate, or has passed it and not begun to speak HTTP/2:
// gRPC would wait for them before it stops, and so anybody could keep a leader
// from leaving. Whoever is inside stays.
func (a *acceptor) close() {
	a.mu.Lock()
	a.shut = true
	var at []*peerConn
	for e := a.waiting.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*peerConn); !p.arrived {
			at = append(at, p)
		}
	}
	for _, p := range at {
		p.unplaceLocked()
	}
	a.mu.Unlock()
	for _, p := range at {
		p.close()
	}
}

// expire shows a connection out whose time in a place is over.
func (a *acceptor) expire(p *peerConn, place *list.Element) {
	a.mu.Lock()
	waits := p.place == place
	if waits {
		p.unplaceLocked()
	}
	a.mu.Unlock()
	if waits {
		a.showOut(p, fmt.Sprintf("has not said hello within the %v of Limits.Handshake", a.limits.Handshake))
	}
}

// showOut ends a connection that waits no more. If nothing has been said to it,
// the gate tells it why on its way out.
func (a *acceptor) showOut(p *peerConn, why string) {
	a.mu.Lock()
	noted, who := p.noted, p.who
	a.mu.Unlock()
	if noted { // it is being told
		p.close()
		return
	}
	if !who.Told() { // it has not come so far
		_, who, _ = peercred.Of(p.conn)
	}
	from := p.conn.RemoteAddr()
	a.mu.Lock()
	judged := p.judged
	if !judged { // and will not be let in any more
		p.out(&gate.Refusal{Who: "this connection", Why: why, Todo: "clients try again by themselves; the leader's log says who connects", Busy: true})
	}
	a.mu.Unlock()
	if judged {
		p.close()
	} else {
		_ = p.conn.SetReadDeadline(time.Unix(1, 0)) // which ends what the gate does
	}
	a.refusals.note(who, from, errors.New(why))
}

// ClientHandshake is not used: the gate at the dialling end is passed before
// gRPC gets the connection.
func (a *acceptor) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return raw, nil, nil
}

// Info describes the acceptor to gRPC.
func (a *acceptor) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "clusterclient"}
}

// Clone returns the acceptor: there is one.
func (a *acceptor) Clone() credentials.TransportCredentials { return a }

// OverrideServerName does nothing.
func (a *acceptor) OverrideServerName(string) error { return nil }
