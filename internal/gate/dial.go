package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/internal/rawio"
)

// Dial is the gate at the dialling end. It returns a connection that can be
// believed, whose next bytes are those of HTTP/2, and who is at its other end.
// It takes no longer than timeout. The caller closes raw when it fails.
func (p *Policy) Dial(ctx context.Context, raw net.Conn, timeout time.Duration) (*Conn, peercred.Peer, error) {
	v, err := p.look(raw)
	if err != nil {
		return nil, v.peer, err
	}
	if err := raw.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, v.peer, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	conn, err := p.passDialled(ctx, &Conn{Conn: rawio.Wrap(raw), peer: v.peer}, v)
	switch {
	case !stop():
		return nil, v.peer, errors.Join(context.Cause(ctx), err)
	case err != nil:
		return nil, v.peer, err
	}
	return conn, v.peer, raw.SetDeadline(time.Time{})
}

func (p *Policy) passDialled(ctx context.Context, conn *Conn, v verdict) (*Conn, error) {
	if mode := p.asks(v); mode != 0 {
		secret, err := p.secret(mode)
		if err != nil {
			return nil, &Refusal{
				Peer: v.peer, Who: "somebody", Why: fmt.Sprintf("is at the other end, the system does not tell which user, and there is no secret to ask for: %v", err),
				Todo: secretTodo(mode),
			}
		}
		if err := p.proveDialled(conn, v, mode, secret); err != nil {
			return nil, err
		}
	}
	if p.TLS == nil {
		return conn, nil
	}
	c := withHTTP2(p.TLS)
	if c.ServerName == "" {
		c.ServerName = p.Host
	}
	secure := tls.Client(conn, c)
	if err := shake(func() error { return secure.HandshakeContext(ctx) }); err != nil {
		return nil, p.untrusted(conn, v, err)
	}
	return &Conn{Conn: secure, below: conn, peer: v.peer}, nil
}

// untrusted tells a certificate that is not believed from a peer that is gone.
func (p *Policy) untrusted(conn *Conn, v verdict, err error) error {
	if fault := ownFault(err); fault != nil {
		return &Refusal{Peer: v.peer, Who: "this process", Why: "cannot shake hands: " + fault.Error(), Todo: "mend the code of WithTLS"}
	}
	conn.noteAlert(err)
	if refusal := conn.Refused(); refusal != nil {
		return refusal
	}
	if errors.As(err, new(unbelieved)) || errors.As(err, new(*tls.CertificateVerificationError)) {
		return &Refusal{Peer: v.peer, Who: who(v.peer), Why: "is not believed: " + err.Error(), Todo: "see the certificates and ServerName of WithTLS"}
	}
	return conn.explain(err)
}

// A Conn is a dialled connection. It notes what the other end says first,
// which may be why it refuses.
type Conn struct {
	net.Conn
	below *Conn // under TLS
	peer  peercred.Peer

	mu    sync.Mutex // guards what follows
	first []byte
	alert error // how the other end has ended TLS
	quiet bool  // nothing more is noted
}

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet {
		return n, err
	}
	c.first = append(c.first, p[:min(n, maxRefusalWire-len(c.first))]...)
	c.quiet = len(c.first) == maxRefusalWire || !mayRefuse(c.first)
	c.alertLocked(err)
	return n, err
}

// noteAlert notes how the other end has ended a TLS handshake, if err says that.
func (c *Conn) noteAlert(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alertLocked(err)
}

func (c *Conn) alertLocked(err error) {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" { // so package tls calls an alert
		c.alert = err
	}
}

// WriteNow writes what there is room for, see [rawio.NowWriter].
func (c *Conn) WriteNow(p []byte) int { return writeNow(c.Conn, p) }

func writeNow(conn net.Conn, p []byte) int {
	if w, ok := conn.(rawio.NowWriter); ok {
		return w.WriteNow(p)
	}
	return 0
}

// Close closes the connection. If the other end has said nothing yet, that may
// be because this one was told off while it wrote: then what there is to be
// read is read first.
func (c *Conn) Close() error {
	c.mu.Lock()
	quiet := c.quiet
	c.mu.Unlock()
	if !quiet && c.Conn.SetReadDeadline(time.Now().Add(lastWords)) == nil {
		_, _ = io.CopyN(io.Discard, c, int64(maxRefusalWire))
	}
	return c.Conn.Close()
}

// lastWords is how long Close waits for a refusal that is on its way.
const lastWords = 10 * time.Millisecond

// forget makes what comes next the first that the other end says.
func (c *Conn) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.first, c.quiet = nil, false
}

// Refused returns why the other end refuses, nil if it does not.
func (c *Conn) Refused() error {
	c.mu.Lock()
	text, busy, ok := decodeRefusal(c.first)
	alert := c.alert
	c.mu.Unlock()
	switch {
	case ok:
		return &Refusal{Peer: c.peer, Who: c.other(), Why: "refuses: " + text, Busy: busy}
	case alert != nil:
		return &Refusal{Peer: c.peer, Who: c.other(), Why: "refuses: " + alert.Error(), Todo: "see the certificates of WithTLS"}
	case c.below != nil:
		return c.below.Refused()
	}
	return nil
}

// other names the other end for people.
func (c *Conn) other() string {
	if !c.peer.Told() {
		return "the other end"
	}
	return who(c.peer)
}

// explain returns why the other end has not answered as it should.
func (c *Conn) explain(err error) error {
	c.mu.Lock()
	quiet := c.quiet
	c.mu.Unlock()
	if !quiet {
		_, _ = io.CopyN(io.Discard, c, int64(maxRefusalWire)) // what there is of a refusal
	}
	if refusal := c.Refused(); refusal != nil {
		return refusal
	}
	if err != nil {
		return err
	}
	return ErrStranger
}
