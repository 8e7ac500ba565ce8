package clusterclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

// minSecret is the shortest secret that WithSecret takes.
const minSecret = 16

// WithPeers lets processes of other users join, and believes them when they
// lead, beside those of the user that this process runs as. All processes of
// the cluster need it: each checks who is at the other end before it believes
// or sends anything.
//
// Together with [WithSecret] or [WithTLS], which let any user in who has what
// they ask for, only the users that are named, and this one, are let in.
func WithPeers(uids ...int) Option {
	return func(o *options) { o.peers = slices.Clone(uids) }
}

// WithSecret lets those in who know secret, of whatever user, in whatever
// container, and nobody else. Both sides of each connection prove that they
// know it; it never travels. It must have 16 bytes or more, and had better be
// random: whoever connects gets a proof that a short or guessable secret can
// be searched for with. It does not hide what travels; see [WithTLS].
func WithSecret(secret []byte) Option {
	return func(o *options) { o.secret, o.secretSet = slices.Clone(secret), true }
}

// WithTLS makes both sides of each connection show a certificate, and hides
// what travels. config has the certificate of this process, RootCAs for those
// of leaders and ClientCAs for those of followers; without ClientCAs, RootCAs
// serves for both. ServerName is the name that the certificates of leaders are
// for; by default that is the address they listen at.
//
// Callbacks of config are called in goroutines of their own. One that panics, or
// ends its goroutine, fails that handshake: whoever connects is refused, and the
// leader's log says why. What GetConfigForClient returns asks for certificates
// as well, whatever it says, from the same authorities if it names none.
func WithTLS(config *tls.Config) Option {
	return func(o *options) { o.tls, o.tlsSet = config, true }
}

func (o *options) checkPeers() error {
	switch {
	case slices.ContainsFunc(o.peers, func(uid int) bool { return uid < 0 }):
		return fmt.Errorf("WithPeers was given %v; a uid is not negative", o.peers)
	case o.secretSet && len(o.secret) < minSecret:
		return fmt.Errorf("WithSecret was given %d bytes; %d are the least, and 32 random ones are good", len(o.secret), minSecret)
	case !o.tlsSet:
		return nil
	case o.tls == nil:
		return errors.New("WithTLS was given nil")
	case len(o.tls.Certificates) == 0 && (o.tls.GetCertificate == nil || o.tls.GetClientCertificate == nil):
		return errors.New("WithTLS was given no certificate: every process may be a server and a client")
	case o.tls.RootCAs == nil:
		return errors.New("WithTLS was given no RootCAs: those of the system would let anybody in who has a certificate of theirs")
	case o.tls.InsecureSkipVerify:
		return errors.New("WithTLS was given InsecureSkipVerify: whoever listens would be believed")
	}
	return o.checkCertificates()
}

// checkCertificates returns an error for a certificate that a leader with the
// limits of this process would not read to its end.
func (o *options) checkCertificates() error {
	for _, cert := range o.tls.Certificates {
		size := 0
		for _, der := range cert.Certificate {
			size += len(der)
		}
		if room := o.limits.withDefaults().TLSHandshake; !gate.FitsHandshake(size, room) {
			return fmt.Errorf("WithTLS was given certificates of %d bytes; they do not fit in the %d bytes of Limits.TLSHandshake, which all processes can raise", size, room)
		}
	}
	return nil
}

// vouches reports whether whoever comes over a network may be believed to be who
// it says, or to belong here if it does not say. Of the system's own that is not
// so.
func vouches(n Network) bool {
	if _, ours := n.(loopback); ours {
		return false
	}
	v, ok := n.(interface{ Vouches() bool })
	return !ok || v.Vouches()
}

func newPolicy(c *Client) *gate.Policy {
	return &gate.Policy{
		Instance: c.instance, Host: c.opts.host, Users: c.opts.peers, Secret: c.opts.secret, TLS: c.opts.tls, HandshakeRoom: c.opts.limits.TLSHandshake,
		Crew: new(gate.Crew),
		UserSecret: func() ([]byte, error) {
			dir, err := c.shared.open()
			if err != nil {
				return nil, err
			}
			return runtimedir.Secret(dir)
		},
		Vouched: vouches(c.opts.network),
	}
}

// refusedBy turns what the gate says of whoever holds an address into an error
// of ours; nil if it is no refusal.
func (c *Client) refusedBy(address string, err error) error {
	r, ok := errors.AsType[*gate.Refusal](err)
	switch {
	case !ok:
		return nil
	case r.Busy: // which ends no Create
		return &Error{Code: errs.Limit, Op: "join", Name: c.name, Cause: fmt.Errorf("%s: %w", address, r)}
	}
	return c.final(errs.PeerRefused, fmt.Errorf("%s: %w", address+heldBy(address, r.Peer), r))
}

// heldBy names the process that listens at address where the refusal does not
// say who p is.
func heldBy(address string, p peercred.Peer) string {
	if p.PID != 0 {
		return ""
	}
	holder := holderOf(address)
	if holder.PID == 0 {
		return ""
	}
	return fmt.Sprintf(", held by %s", holder)
}

// reachable returns an error for an address that is not this host's alone, if
// nothing but the number of a user, which is different on each host, would be
// asked for there.
func (c *Client) reachable(address string) error {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	if err != nil || ip == nil || ip.IsLoopback() || c.policy.Guarded() || c.policy.Vouched {
		return nil
	}
	return c.final(errs.PeerRefused, fmt.Errorf("%s can be reached from other hosts; give all processes the same WithSecret, or WithTLS", address))
}
