package etcd

import "time"

// defaultLeaseTTL leaves the next leader many times as long as it needs.
const defaultLeaseTTL = 10 * time.Second

// An Option changes how an [Upstream] uses etcd.
type Option func(*options)

type options struct {
	prefix      string
	leaseTTL    time.Duration
	ownedClient bool
}

func newOptions(opts []Option) options {
	o := options{leaseTTL: defaultLeaseTTL}
	for _, opt := range opts {
		opt(&o)
	}
	if o.leaseTTL <= 0 {
		o.leaseTTL = defaultLeaseTTL
	}
	return o
}

// WithPrefix puts prefix before every key: those watched, published,
// registered, and read with [MethodGet] and [MethodList]. Nothing outside it
// can be reached. The default is none.
func WithPrefix(prefix string) Option {
	return func(o *options) { o.prefix = prefix }
}

// WithLeaseTTL sets how long registrations outlive a host that died. The
// default is 10 s. It is rounded up to a full second, and etcd has a minimum
// of its own, about two seconds with its default settings. It must be longer
// than a takeover.
func WithLeaseTTL(ttl time.Duration) Option {
	return func(o *options) { o.leaseTTL = ttl }
}

// WithOwnedClient makes [Upstream.Close] close the client as well. By default
// the client belongs to the caller, and Close leaves it open.
func WithOwnedClient() Option {
	return func(o *options) { o.ownedClient = true }
}
