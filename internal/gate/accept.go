package gate

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/internal/rawio"
)

// lingerTime is how long a refused peer has to read why.
const lingerTime = 200 * time.Millisecond

// Accept is the gate at the accepting end. It returns a connection whose next
// bytes are those of HTTP/2, or a [*Lane], and who is at its other end. The caller bounds the
// time that it takes by a deadline of conn, and shows the other end out by an
// end of ctx, whose cause may be a [Refusal], and of that deadline.
// When it fails the caller tells the other end why, see [Tell], and closes conn.
func (p *Policy) Accept(ctx context.Context, conn net.Conn) (net.Conn, peercred.Peer, error) {
	v, err := p.look(conn)
	if err != nil {
		return nil, v.peer, err
	}
	through, err := p.passAccepted(ctx, conn, v)
	if r, ok := errors.AsType[*Refusal](context.Cause(ctx)); ok && err != nil && !errors.As(err, new(brief)) { // which has been begun to be told otherwise
		err = r
	}
	return through, v.peer, err
}

func (p *Policy) passAccepted(ctx context.Context, conn net.Conn, v verdict) (net.Conn, error) {
	first, err := readPreface(conn)
	if err != nil {
		return nil, err
	}
	mode := p.asks(v)
	switch {
	case string(first) == proofMagic:
		if err := p.proveAccepted(conn, v); err != nil {
			return nil, err
		}
		if first, err = readPreface(conn); err != nil {
			return nil, err
		}
	case mode != 0:
		return nil, &Refusal{Peer: v.peer, Who: who(v.peer), Why: "does not prove that it knows " + secretName(mode), Todo: secretTodo(mode)}
	}
	through := net.Conn(&replayed{Conn: rawio.Wrap(conn), first: first})
	switch {
	case p.TLS != nil && first[0] == tlsHandshake:
		return p.shakeHands(ctx, through, v)
	case p.TLS != nil:
		return nil, &Refusal{Peer: v.peer, Who: who(v.peer), Why: "does not use TLS, and the leader does", Todo: "give all processes WithTLS"}
	case first[0] == tlsHandshake:
		return nil, &Refusal{Peer: v.peer, Who: who(v.peer), Why: "uses TLS, and the leader does not", Todo: "give all processes WithTLS, or none"}
	case string(first) == lanePreface:
		return acceptLane(conn)
	}
	return through, nil
}

// shakeHands returns a connection over TLS, once it is its turn.
func (p *Policy) shakeHands(ctx context.Context, conn net.Conn, v verdict) (net.Conn, error) {
	turn, err := p.Crew.enter(ctx, conn, originOf(v.peer, conn))
	if err != nil {
		return nil, err
	}
	few := &records{Conn: conn, left: p.handshakeRoom()}
	secure, err := p.serve(few)
	switch cut := p.Crew.leave(turn); {
	case cut != nil:
		return nil, cut
	case err != nil:
		return nil, few.explain(err)
	}
	few.trust()
	return secure, nil
}

func (p *Policy) serve(conn *records) (*tls.Conn, error) {
	if err := conn.greet(); err != nil {
		return nil, err
	}
	p.once.Do(func() { p.server = serverTLS(p.TLS, p.TLS.RootCAs) })
	secure := tls.Server(conn, p.server)
	return secure, shake(secure.Handshake) // the end of conn ends it
}

// tlsHandshake is the first byte of a record of that kind.
const tlsHandshake = 0x16

// readPreface reads what a peer of ours begins with, and nothing beyond it.
func readPreface(conn net.Conn) ([]byte, error) {
	got := make([]byte, 0, prefaceSize)
	for len(got) < prefaceSize {
		n, err := conn.Read(got[len(got):prefaceSize])
		got = got[:len(got)+n]
		if n > 0 && got[0] == tlsHandshake {
			return got, nil
		}
		if text := string(got); text != http2Preface[:len(got)] && text != proofMagic[:len(got)] && text != lanePreface[:len(got)] {
			return nil, fmt.Errorf("%w: it begins with %d other bytes", ErrStranger, len(got))
		}
		if err != nil && len(got) < prefaceSize {
			return nil, fmt.Errorf("after %d bytes: %w", len(got), err)
		}
	}
	return got, nil
}

// serverTLS asks for certificates, whatever the configuration says, or another
// one that it gives for some clients. Those of clients are by authorities, unless
// it names others.
func serverTLS(c *tls.Config, authorities *x509.CertPool) *tls.Config {
	c = withHTTP2(c)
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.SessionTicketsDisabled = true // connections are made once; a ticket would have the certificates in it
	if c.ClientCAs == nil {
		c.ClientCAs = cmp.Or(c.RootCAs, authorities)
	}
	if configFor := c.GetConfigForClient; configFor != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			other, err := configFor(hello)
			if other == nil || err != nil {
				return nil, err
			}
			return serverTLS(other, c.ClientCAs), nil
		}
	}
	return c
}

func withHTTP2(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos = []string{"h2"}
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	guard(c)
	return c
}

// replayed is a connection of which something has been read already.
type replayed struct {
	net.Conn
	first []byte
}

func (r *replayed) Read(p []byte) (int, error) {
	if len(r.first) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.first)
	r.first = r.first[n:]
	return n, nil
}

// Tell lets the other end know why it is refused, if err says so, and gives it a
// moment to read that: what has not been read when a connection is closed can
// destroy what was written. Who it is can best be found out before.
func Tell(conn net.Conn, err error) {
	r, ok := errors.AsType[*Refusal](err)
	if !ok {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	if _, err := conn.Write(r.encode()); err != nil || r.Busy { // of these there are too many already
		return
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		drain(conn)
	}
}

// drain reads what comes, with less room than package io takes for that.
func drain(conn net.Conn) {
	var room [256]byte
	for got := 0; got < maxLinger; {
		n, err := conn.Read(room[:])
		if err != nil {
			return
		}
		got += n
	}
}

// maxLinger is how much of a refused peer is read.
const maxLinger = 16 << 10
