package gate

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
)

// How both ends of a connection prove that they know a secret. It never
// travels, and what does is of use in this connection alone.
//
//	dials                                accepts
//	magic, mode, nonce, instance  ───▶
//	                              ◀───   magic, nonce, instance, HMAC "accepts"
//	HMAC "dials"                  ───▶
//	HTTP/2                        ◀──▶
//
// Each HMAC is over both nonces, both instances and the address served. All
// lengths are fixed: whoever cannot prove anything makes the other end hold
// less than a KiB.
const (
	// proofMagic has the length of HTTP/2's own preface, in whose place it
	// stands.
	proofMagic   = "CLUSTERCLIENT-PROOF1\r\n\r\n"
	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	prefaceSize  = len(http2Preface)

	nonceSize    = 32
	instanceSize = 16
	macSize      = sha256.Size

	callSize   = 1 + nonceSize + instanceSize // behind the magic
	answerSize = nonceSize + instanceSize + macSize

	modeSecret = 1 // of WithSecret
	modeUser   = 2 // of the user's own directory
)

// transcript is what both ends agree on.
type transcript struct {
	mode                          byte
	dialled, accepted             [nonceSize]byte
	dialledClient, acceptedClient [instanceSize]byte
	address                       string
}

func (t *transcript) mac(secret []byte, end string) []byte {
	key := hmac.New(sha256.New, secret)
	_, _ = io.WriteString(key, "clusterclient peer proof 1") // never fails
	m := hmac.New(sha256.New, key.Sum(nil))
	for _, part := range [][]byte{{t.mode}, t.dialled[:], t.accepted[:], t.dialledClient[:], t.acceptedClient[:], []byte(end + "\x00" + t.address)} {
		_, _ = m.Write(part)
	}
	return m.Sum(nil)
}

func newNonce() (n [nonceSize]byte) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

// proveDialled is the dialling end's part.
func (p *Policy) proveDialled(conn *Conn, v verdict, mode byte, secret []byte) error {
	t := transcript{mode: mode, dialled: newNonce(), address: binding(conn.RemoteAddr())}
	copy(t.dialledClient[:], p.Instance)
	call := append([]byte(proofMagic), mode)
	call = append(append(call, t.dialled[:]...), t.dialledClient[:]...)
	if _, err := conn.Write(call); err != nil {
		return conn.explain(err)
	}
	var answer [prefaceSize + answerSize]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil || string(answer[:prefaceSize]) != proofMagic {
		return conn.explain(err)
	}
	rest := answer[prefaceSize:]
	copy(t.accepted[:], rest)
	copy(t.acceptedClient[:], rest[nonceSize:])
	if !hmac.Equal(rest[nonceSize+instanceSize:], t.mac(secret, "accepts")) {
		return &Refusal{Peer: v.peer, Who: who(v.peer), Why: "does not know " + secretName(mode), Todo: secretTodo(mode)}
	}
	conn.forget()
	_, err := conn.Write(t.mac(secret, "dials"))
	return err
}

// proveAccepted is the accepting end's part, once the magic has been read.
func (p *Policy) proveAccepted(conn net.Conn, v verdict) error {
	var call [callSize]byte
	if _, err := io.ReadFull(conn, call[:]); err != nil {
		return err
	}
	mode := call[0]
	secret, err := p.expected(mode, v)
	if err != nil {
		return err
	}
	t := transcript{mode: mode, accepted: newNonce(), address: binding(conn.LocalAddr())}
	copy(t.dialled[:], call[1:])
	copy(t.dialledClient[:], call[1+nonceSize:])
	copy(t.acceptedClient[:], p.Instance)
	answer := append([]byte(proofMagic), t.accepted[:]...)
	answer = append(append(answer, t.acceptedClient[:]...), t.mac(secret, "accepts")...)
	if _, err := conn.Write(answer); err != nil {
		return err
	}
	var got [macSize]byte
	if _, err := io.ReadFull(conn, got[:]); err != nil {
		return fmt.Errorf("the proof of a secret was not finished: %w", err)
	}
	if !hmac.Equal(got[:], t.mac(secret, "dials")) {
		return &Refusal{Peer: v.peer, Who: who(v.peer), Why: "does not know " + secretName(mode), Todo: secretTodo(mode)}
	}
	return nil
}

// expected returns the secret that a proof of this mode is checked with.
func (p *Policy) expected(mode byte, v verdict) ([]byte, error) {
	refuse := func(why, todo string) ([]byte, error) {
		return nil, &Refusal{Peer: v.peer, Who: who(v.peer), Why: why, Todo: todo}
	}
	switch {
	case len(p.Secret) > 0 && mode == modeSecret:
		return p.Secret, nil
	case len(p.Secret) > 0:
		return refuse("knows no WithSecret, and the leader has one", secretTodo(modeSecret))
	case mode == modeUser && p.UserSecret != nil:
		secret, err := p.UserSecret()
		if err != nil {
			return refuse("wants proof of "+secretName(mode)+", which the leader cannot read: "+err.Error(), secretTodo(mode))
		}
		return secret, nil
	}
	return refuse("uses WithSecret, and the leader does not", secretTodo(modeSecret))
}

func secretName(mode byte) string {
	if mode == modeUser {
		return "the secret in this user's runtime directory"
	}
	return "the secret of WithSecret"
}

func secretTodo(mode byte) string {
	if mode == modeUser {
		return "give all processes the same runtime directory or the same WithSecret"
	}
	return "give all processes the same WithSecret"
}
