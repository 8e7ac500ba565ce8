package clusterclient

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/leader"
)

const (
	// DefaultPort is below the range from which systems take ephemeral ports,
	// so that a dial to it cannot connect to itself.
	DefaultPort = 17777

	defaultMaxWait     = 30 * time.Second
	defaultLinger      = 30 * time.Second
	defaultCallTimeout = 30 * time.Second
	defaultReread      = 5 * time.Minute
	defaultWatchRate   = 20_000
	defaultStaleAfter  = 3 * time.Second
	defaultDeposeAfter = 10 * time.Second

	// A leader is heard of once a second. What is made of its silence must
	// allow for one beat that is late.
	shortestSilence = 2 * time.Second

	defaultHost = "127.0.0.1"

	maxName = 256
)

// An Option changes how [Create] makes a [Client].
type Option func(*options)

// options is what the options add up to.
type options struct {
	open        func(context.Context) (leader.Upstream, error)
	openSet     bool
	strict      bool
	policy      RolePolicy
	single      bool
	identity    []byte
	codec       codec.Codec
	logger      hclog.Logger
	maxWait     time.Duration
	linger      time.Duration
	callTimeout time.Duration
	staleAfter  time.Duration
	deposeAfter time.Duration
	network     Network
	host        string // the one address that is bound, always literal
	runtimeDir  string
	peers       []int
	secret      []byte
	secretSet   bool
	tls         *tls.Config
	tlsSet      bool
	limits      Limits
	snapshot    string
	snapshotSet bool
	reread      time.Duration
	watchRate   int
	blindAfter  time.Duration
	blindSet    bool
	probe       func(context.Context) error
	joined      func(leader.Peer)
	left        func(leader.Peer, error)
}

// WithUpstream says how to connect to the config centre or registry. open is
// called only in the process that leads, once per leadership, and again, with
// pauses, when it fails after a takeover. Its ctx ends with the leadership, or
// when Create gives up. Without this option a process only follows.
func WithUpstream(open func(ctx context.Context) (leader.Upstream, error)) Option {
	return func(o *options) { o.open, o.openSet = open, true }
}

// WithStrictlyOneUpstream keeps the processes of a cluster from ever having two
// connections to the upstream at once, but for that of a leader which hangs.
// By default the next leader opens its own before one that resigns or is closed
// lets go, so that no value turns stale meanwhile and calls hardly wait. It is
// for upstreams that allow one connection only, such as one for each client id;
// values turn stale then until the next leader has opened its own. It holds
// if the process that leads or the one that is next has it.
func WithStrictlyOneUpstream() Option { return func(o *options) { o.strict = true } }

// A RolePolicy says which roles a client may take.
type RolePolicy int

const (
	// Compete leads if nobody else does, and follows otherwise. It is the
	// default.
	Compete RolePolicy = iota

	// LeaderOnly leads or fails with [ErrLeadershipTaken]; for an agent.
	LeaderOnly

	// FollowerOnly never leads and waits for a leader; for a worker or tool.
	FollowerOnly
)

// String returns the policy's name.
func (p RolePolicy) String() string {
	switch p {
	case Compete:
		return "compete"
	case LeaderOnly:
		return "leader only"
	case FollowerOnly:
		return "follower only"
	}
	return fmt.Sprintf("RolePolicy(%d)", int(p))
}

// WithRole fixes the role; the default is [Compete].
func WithRole(p RolePolicy) Option { return func(o *options) { o.policy = p } }

// WithSingleProcess makes a cluster of this one client, without any socket
// and with the same API: for tests, and for programs that run alone. The
// environment variable CLUSTERCLIENT_SINGLE=1 does the same.
func WithSingleProcess() Option { return func(o *options) { o.single = true } }

// WithIdentity says what the name stands for: the upstream's address, the
// namespace, the user whose credentials are used. Only a fingerprint of the
// parts leaves the process. Clients with one name and different identities
// never share data: the later one gets [ErrIdentityMismatch]. By default the
// name is all there is.
func WithIdentity(parts ...string) Option {
	return func(o *options) {
		h := sha256.New()
		for _, p := range parts {
			h.Write(binary.AppendUvarint(nil, uint64(len(p))))
			h.Write([]byte(p))
		}
		o.identity = h.Sum(nil)
	}
}

// WithFingerprint takes an identity over by its fingerprint, as [Inspect]
// reports it. It is for tools, which do not know the parts.
func WithFingerprint(fingerprint []byte) Option {
	return func(o *options) { o.identity = slices.Clone(fingerprint) }
}

// WithCodec says how plain Go values travel; the default is [codec.JSON].
// Protobuf messages and []byte travel as they are, whatever the codec.
func WithCodec(c codec.Codec) Option { return func(o *options) { o.codec = c } }

// WithLogger says where to log; the default is nowhere. Package hclogslog makes
// a logger of a handler of log/slog. Changes of role are
// logged at Info, what is tried again at Warn.
func WithLogger(l hclog.Logger) Option { return func(o *options) { o.logger = l } }

// WithMaxWait bounds how long [Create] waits; the default is 30 s.
func WithMaxWait(d time.Duration) Option { return func(o *options) { o.maxWait = d } }

// WithLinger says how long the leader goes on watching a key that nobody
// subscribes to any more; the default is 30 s, 0 means not at all. What counts
// is the option of the process that leads.
func WithLinger(d time.Duration) Option { return func(o *options) { o.linger = d } }

// WithCallTimeout is the deadline of calls whose context has none; the default
// is 30 s.
func WithCallTimeout(d time.Duration) Option { return func(o *options) { o.callTimeout = d } }

// WithSnapshot makes the process that leads keep the newest values in dir, for
// a start at which the upstream cannot be reached: then they are served at
// once, in every process of the cluster, stale and with their origin, until
// the upstream is open. Create does not fail then, and does not wait for the
// upstream either; without a single value it does. Nothing in the cluster
// waits for the disk. By default nothing is kept.
//
// Every process of the cluster should be given the same directory, which is
// created if it is absent, though not those above it. It must belong to the
// user that the processes run as, or to root, and others must not be able to
// write it. Files in it are for that user only. Whatever is wrong with the
// directory or a file is logged once, and the client goes on without.
//
// The directory whose name is that of the cluster's file, ending in
// ".override", is the operator's. A file there wins over everything that the
// upstream says of the key that it is named after, in the escaping of URLs
// ("%2F" is a slash), until it is removed. Values from there say so. The
// directory is looked at once a second, and a file is taken when it has not
// changed for that long.
func WithSnapshot(dir string) Option {
	return func(o *options) { o.snapshot, o.snapshotSet = dir, true }
}

// WithReread says about how often the leader reads each key from the upstream,
// beside watching it, to find a watch that has gone silent: such a one is begun
// anew, logged and counted. It does so only if the upstream is a
// [leader.Getter]. The default is 5 minutes, within 10 %; 0 means never.
func WithReread(d time.Duration) Option { return func(o *options) { o.reread = d } }

// WithWatchRate bounds how many watches of the upstream the leader begins a
// second, after a takeover and when an upstream is back that was lost; as many
// may begin at once after a rest. Those of the keys that most processes
// subscribe to go first. Until its watch has begun a key has its last known
// value, stale. The default is 20,000; 0 means no bound. At most 128 watches
// that have not reported anything yet are begun at once, whatever the rate, but
// none counts for longer than a second.
func WithWatchRate(n int) Option { return func(o *options) { o.watchRate = n } }

// WithFollowerHooks has joined called, in the process that leads, with each
// other client that comes to follow it, and left when one has gone. The error
// says why: it is nil if the client was closed, wraps [leader.ErrLost] if its
// connection was lost, as when its process is killed, and [leader.ErrBroken] if
// it was cut off. Either may be nil. They are called one at a time, in order, by
// a goroutine that holds nothing up, and not for the end of the leadership
// itself, with which all followers go. Who is refused does not come, and is in
// [Stats] instead.
func WithFollowerHooks(joined func(leader.Peer), left func(leader.Peer, error)) Option {
	return func(o *options) { o.joined, o.left = joined, left }
}

// WithStaleAfter says how long the leader may be silent before this process
// takes the values that it has from it for stale; the default is 3 s, the least
// 2 s. A leader is heard of once a second.
func WithStaleAfter(d time.Duration) Option { return func(o *options) { o.staleAfter = d } }

// WithDeposeAfter says how long the leader may be silent before another process
// takes its place, although it still holds the port: it is stopped, or hangs.
// The default is 10 s; it must not be less than [WithStaleAfter]. Processes that
// differ wait for the longest of the leader's and their own. It needs the
// directory of [WithRuntimeDir]; without it such a leader stays until it goes
// on or its process ends.
func WithDeposeAfter(d time.Duration) Option { return func(o *options) { o.deposeAfter = d } }

// WithResignWhenBlind makes a leader that has not reached its upstream for
// after give the leadership up, if another process that could lead reports that
// it reaches it: that one leads next. Probe is how that process finds out. It
// returns nil when the upstream has answered; it is called, for three seconds
// at most, only in a process that follows, when a blind leader asks, in one that
// gave way, before it leads again, and in one that cannot open its upstream. So
// it connects by itself, and leaves nothing behind. If nobody reaches the
// upstream nobody resigns. A process that takes over and whose upstream does not
// open within after gives way, too, if its own probe fails and another process
// waits that could lead. By default nobody does any of that: a leader that is
// blind stays, its values are stale, and [Status.BlindSince] tells. All processes
// should have the same.
func WithResignWhenBlind(after time.Duration, probe func(ctx context.Context) error) Option {
	return func(o *options) { o.blindAfter, o.probe, o.blindSet = after, probe, true }
}

// NoRuntimeDir makes a client do without a runtime directory when it is given
// to [WithRuntimeDir].
const NoRuntimeDir = "-"

// WithRuntimeDir says which directory the processes of this user share on the
// host, beside the port. It must be the same for all of them. It is created if
// it is absent, though not those above it. One that others can read, write or
// replace is not used.
//
// The default is clusterclient in $XDG_RUNTIME_DIR or, on Linux, /run/user/UID,
// if that is a directory of this user, or else clusterclient-UID in the
// directory for temporary files. [NoRuntimeDir] switches it off.
//
// A client that cannot use the directory warns once in its log, says so in
// [Status], and does without: a leader that hangs is not replaced then. A leader
// that cannot make a socket there, as where the path has more than about 60
// bytes and the system is not Linux, serves at its port alone, and
// [Status.SocketTrouble] says so.
func WithRuntimeDir(dir string) Option { return func(o *options) { o.runtimeDir = dir } }

// A Network is where clients listen and dial. Package clustertest has one in
// memory.
type Network interface {
	// Listen binds address, "host:port", alone: it fails with an error that
	// is syscall.EADDRINUSE while somebody else has it.
	Listen(ctx context.Context, address string) (net.Listener, error)

	// Dial connects to address; it fails with an error that is
	// syscall.ECONNREFUSED when nobody listens there.
	Dial(ctx context.Context, address string) (net.Conn, error)
}

// WithNetwork replaces the loopback interface, for tests. n vouches for whoever
// is at the other end of a connection of which the system does not tell: he is
// let in and believed, unless n has a method Vouches() bool that says no, or
// [WithSecret] or [WithTLS] asks for more.
func WithNetwork(n Network) Option { return func(o *options) { o.network = n } }

// resolve applies opts over the defaults and checks everything that can be
// checked before op has started anything.
func resolve(op, name string, port int, opts []Option) (options, int, error) {
	o, port, err := resolveOptions(port, opts)
	if err = cmp.Or(checkName(name), err); err != nil {
		if len(name) > maxName {
			name = name[:64] + "…"
		}
		return o, 0, &Error{Code: errs.Invalid, Op: op, Name: name, Cause: err}
	}
	return o, port, nil
}

// resolveOptions is resolve without a name.
func resolveOptions(port int, opts []Option) (options, int, error) {
	o := options{
		codec: codec.JSON, logger: hclog.NewNullLogger(), network: loopback{}, host: defaultHost,
		maxWait: defaultMaxWait, linger: defaultLinger, callTimeout: defaultCallTimeout,
		staleAfter: defaultStaleAfter, deposeAfter: defaultDeposeAfter, reread: defaultReread,
		watchRate: defaultWatchRate,
		single:    os.Getenv("CLUSTERCLIENT_SINGLE") == "1",
	}
	for i, opt := range opts {
		if opt == nil {
			return o, 0, fmt.Errorf("option %d is nil", i)
		}
		opt(&o)
	}
	if o.logger == nil {
		o.logger = hclog.NewNullLogger()
	}
	port, portErr := resolvePort(port)
	if err := cmp.Or(portErr, o.check(), o.checkPeers(), o.checkAddress(), o.limits.check()); err != nil {
		return o, 0, err
	}
	o.limits = o.limits.withDefaults()
	return o, port, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name has %d bytes, at most %d are allowed", len(name), maxName)
	case !utf8.ValidString(name):
		return errors.New("the name is not UTF-8")
	}
	return nil
}

func resolvePort(port int) (int, error) {
	if env := os.Getenv("CLUSTERCLIENT_PORT"); port == 0 && env != "" {
		p, err := strconv.Atoi(env)
		if err != nil || p < 1 || p > 65535 {
			return 0, fmt.Errorf("CLUSTERCLIENT_PORT is %q, not a port from 1 to 65535", env)
		}
		return p, nil
	}
	if port < 0 || port > 65535 {
		return 0, fmt.Errorf("port %d is not one from 1 to 65535", port)
	}
	return cmp.Or(port, DefaultPort), nil
}

func (o *options) check() error {
	switch {
	case o.openSet && o.open == nil:
		return errors.New("WithUpstream was given nil")
	case o.policy < Compete || o.policy > FollowerOnly:
		return fmt.Errorf("%v is no role policy", o.policy)
	case o.policy == LeaderOnly && o.open == nil:
		return errors.New("a client that may only lead needs WithUpstream")
	case o.single && o.open == nil:
		return errors.New("a single process needs WithUpstream")
	case o.single && o.policy == FollowerOnly:
		return errors.New("a single process cannot be follower only")
	case o.codec == nil:
		return errors.New("WithCodec was given nil")
	case o.network == nil:
		return errors.New("WithNetwork was given nil")
	case o.maxWait <= 0:
		return fmt.Errorf("WithMaxWait was given %v; it must be positive", o.maxWait)
	case o.linger < 0:
		return fmt.Errorf("WithLinger was given %v; it must not be negative", o.linger)
	case o.snapshotSet && o.snapshot == "":
		return errors.New("WithSnapshot was given no directory")
	case o.reread < 0:
		return fmt.Errorf("WithReread was given %v; it must not be negative", o.reread)
	case o.blindSet && (o.blindAfter <= 0 || o.probe == nil):
		return errors.New("WithResignWhenBlind needs a time that is positive, and a probe")
	case o.watchRate < 0:
		return fmt.Errorf("WithWatchRate was given %d; it must not be negative", o.watchRate)
	case o.callTimeout <= 0:
		return fmt.Errorf("WithCallTimeout was given %v; it must be positive", o.callTimeout)
	case o.staleAfter < shortestSilence:
		return fmt.Errorf("WithStaleAfter was given %v; a leader is heard of once a second, so it must be %v at least", o.staleAfter, shortestSilence)
	case o.deposeAfter < o.staleAfter:
		return fmt.Errorf("WithDeposeAfter was given %v; it must not be less than WithStaleAfter, %v", o.deposeAfter, o.staleAfter)
	}
	return nil
}

// candidate reports whether the client can lead.
func (o *options) candidate() bool { return o.open != nil && o.policy != FollowerOnly }
