// Package gate decides who is let in, and who is believed: before a byte of
// either side's messages has been read by the other.
//
// A connection passes the gate at both ends, [Policy.Accept] and
// [Policy.Dial]. By default nothing travels: each asks the system which user
// is at the other end. With a secret both prove, in three short
// messages, that they know it. With TLS both show certificates.
package gate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

// A Policy says who is let in and believed.
type Policy struct {
	// Instance is this client.
	Instance []byte

	// Host is the address that is served. A leader's certificate is for it,
	// unless TLS says otherwise.
	Host string

	// Users are let in beside the user that this process runs as. With a
	// secret or TLS, which say more than a number does, every user is, unless
	// some are named.
	Users []int

	// Secret, if not empty, is what both sides must know.
	Secret []byte

	// TLS, if not nil, is what both sides must show certificates for.
	TLS *tls.Config

	// HandshakeRoom is how many bytes of a TLS handshake are read before the
	// other end's certificate is found good; 0 stands for
	// [DefaultHandshakeRoom].
	HandshakeRoom int

	// Crew bounds how many TLS handshakes run at once; nil for no bound.
	Crew *Crew

	// UserSecret returns what only processes of this user know. It is proven
	// where the system does not tell which user is at the other end.
	UserSecret func() ([]byte, error)

	// Vouched is set when connections come from a network that vouches for
	// whoever is at the other end, if the system knows nothing of them.
	Vouched bool

	once   sync.Once
	server *tls.Config // made of TLS, once
}

// A Refusal is why somebody is not let in or not believed.
type Refusal struct {
	Peer peercred.Peer // who is refused, or refuses
	Who  string        // the same in words
	Why  string
	Todo string

	// Busy: it may come again, and be let in.
	Busy bool
}

// Error says who, why, and what to do.
func (r *Refusal) Error() string {
	text := r.Who + " " + r.Why
	if r.Todo != "" {
		text += "; " + r.Todo
	}
	return text
}

// ErrStranger is found in errors of a peer that speaks something else.
var ErrStranger = errors.New("it does not speak our protocol")

// Guarded reports whether more is asked for than which user it is, so that
// addresses which other hosts can reach may be used.
func (p *Policy) Guarded() bool { return len(p.Secret) > 0 || p.TLS != nil }

// A verdict is what is known of the other end before it has said anything.
type verdict struct {
	peer peercred.Peer
	own  peercred.Peer

	// userSecret: it must prove that it knows what only this user knows.
	userSecret bool
}

// look judges the other end by what the system knows of it.
func (p *Policy) look(conn net.Conn) (verdict, error) {
	own, peer, err := peercred.Of(conn)
	v := verdict{own: own, peer: peer}
	switch {
	case err != nil && p.Guarded() && len(p.Users) == 0: // on another host nobody is found
		return v, nil
	case errors.Is(err, peercred.ErrGone):
		return v, err
	case err != nil && (p.Vouched || isUnix(conn)):
		v.peer.UID = own.UID
		return v, nil
	case err != nil && len(p.Users) == 0 && p.UserSecret != nil:
		v.userSecret = true
		return v, nil
	case err != nil:
		return v, &Refusal{
			Peer: peer, Who: "somebody", Why: "is at the other end, and the system does not tell which user: " + err.Error(),
			Todo: "use a common WithSecret, without WithPeers",
		}
	case p.allows(v):
		return v, nil
	}
	return v, &Refusal{
		Peer: peer, Who: "uid " + strconv.Itoa(peer.UID),
		Why:  "is not " + p.allowed(own.UID),
		Todo: fmt.Sprintf("run all processes as one user, or give all of them WithPeers(%s) or the same WithSecret", users(own.UID, peer.UID)),
	}
}

// isUnix reports whether only this user can be at the other end: sockets of
// that kind lie in a directory which is closed to others.
func isUnix(conn net.Conn) bool {
	_, ok := conn.(*net.UnixConn)
	return ok
}

func (p *Policy) allows(v verdict) bool {
	if p.Guarded() && len(p.Users) == 0 {
		return true
	}
	return v.peer.UID == v.own.UID || slices.Contains(p.Users, v.peer.UID)
}

// allowed names who may be at the other end.
func (p *Policy) allowed(own int) string {
	return "uid " + strings.ReplaceAll(users(append([]int{own}, p.Users...)...), ", ", " or ")
}

func users(uids ...int) string {
	slices.Sort(uids)
	var texts []string
	for _, uid := range slices.Compact(uids) {
		texts = append(texts, strconv.Itoa(uid))
	}
	return strings.Join(texts, ", ")
}

// asks returns which secret the other end has to prove, 0 for none.
func (p *Policy) asks(v verdict) byte {
	switch {
	case len(p.Secret) > 0:
		return modeSecret
	case v.userSecret:
		return modeUser
	}
	return 0
}

func (p *Policy) secret(mode byte) ([]byte, error) {
	if mode == modeSecret {
		return p.Secret, nil
	}
	return p.UserSecret()
}

// binding names the address that is served, if both ends know it by the same
// name: then proofs cannot be passed on by somebody who listens at another
// one.
func binding(served net.Addr) string {
	if a, ok := served.(*net.TCPAddr); ok && a.IP.IsLoopback() {
		return a.String()
	}
	return ""
}
