package clusterclient

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// WithAddress makes the cluster use an address of this host other than
// 127.0.0.1, for processes that cannot reach that one: of other containers, or
// of other hosts. It is one literal IP address, without a port, and the same
// for all processes of the cluster: who leads is decided by who has bound its
// port there, and leaders beside the port listen on it, too. So it must be the
// address by which everybody reaches the host; one that stands for all of the
// host's, such as 0.0.0.0, is none.
//
// Only a process of the host that has the address can lead. All others need
// [WithRole] with [FollowerOnly]. They do not share the host's runtime directory,
// so none of them takes the place of a leader that hangs.
//
// An address that is not loopback needs [WithSecret] or [WithTLS], for there
// is no telling which user is at the other end, and rules [WithPeers] out for
// the same reason: [Create] fails with [ErrInvalid] otherwise. Without TLS,
// whoever is between the hosts can read and change what travels.
func WithAddress(ip string) Option { return func(o *options) { o.host = ip } }

// checkAddress also brings the address into the one form that is compared.
func (o *options) checkAddress() error {
	ip, err := netip.ParseAddr(o.host)
	ip = ip.Unmap()
	switch {
	case err != nil:
		return fmt.Errorf("WithAddress was given %q, which is no IP address; a name may stand for several", o.host)
	case ip.IsUnspecified():
		return fmt.Errorf("WithAddress was given %s, which stands for all addresses of the host; give the one that the others use", ip)
	case ip.IsMulticast() || ip.Zone() != "":
		return fmt.Errorf("WithAddress was given %s; a leader cannot be reached there by everybody", ip)
	case ip.IsLoopback():
	case len(o.secret) == 0 && o.tls == nil:
		return fmt.Errorf("WithAddress was given %s, which others than the processes of this host can reach; give all processes the same WithSecret, or WithTLS", ip)
	case len(o.peers) > 0:
		return errors.New("WithPeers and an address that others than the processes of this host can reach rule each other out: there is no telling which user is at the other end")
	}
	o.host = ip.String()
	return nil
}

// keepAlive returns what finds out that the host at the other end of a
// connection is gone, and the time in which it does so. Of a process on this
// host the kernel tells.
func keepAlive(address string) net.KeepAliveConfig {
	if at, err := netip.ParseAddrPort(address); err != nil || at.Addr().IsLoopback() {
		return net.KeepAliveConfig{}
	}
	return net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4}
}
