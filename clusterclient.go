package clusterclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/build"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/lease"
	"github.com/clusterclient/clusterclient/internal/repeats"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Client is one process's part in a cluster. It subscribes, invokes,
// publishes and registers by the methods of its [follower.Follower], which
// work alike whether this process leads or follows, and go on across
// takeovers. All methods are safe for concurrent use.
//
// Clients are independent of each other, also within one process.
type Client struct {
	*follower.Follower

	name     string
	address  string // of the cluster's port
	opts     options
	log      hclog.Logger
	driver   *follower.Driver
	instance []byte
	status   *statusBoard
	rejected rejections
	shared   sharedDir
	policy   *gate.Policy
	refusals refusals // of those who connect while this client leads
	repeats  repeats.Repeats
	lease    *lease.File
	spare    spare

	cancel context.CancelCauseFunc // ends the roles
	done   chan struct{}           // closed when the last role has ended
	ready  chan struct{}           // closed when the first role is held
	failed chan error              // one slot: why no role can be had

	term termBook // used by the goroutine of the roles, and by links

	closing  atomic.Bool
	closeErr error // set before done is closed
}

// Create joins the cluster called name on a port of this host's 127.0.0.1 and
// returns when this process leads, its upstream open, or follows. Port 0
// stands for the environment variable CLUSTERCLIENT_PORT, and without it for
// [DefaultPort]. One port carries any number of names.
//
// Processes that call Create with one name and port share one leader. A
// process without [WithUpstream] only follows, and waits for one that leads.
//
// Create waits for [WithMaxWait], 30 s by default, and then fails, saying what
// it was waiting for. Apart from that it fails with [ErrInvalid],
// [ErrLeadershipTaken], [ErrIdentityMismatch], [ErrForeignListener], or with
// what the upstream's open function returned, in this process or in the one
// that leads. Nothing is left running when it fails.
func Create(name string, port int, opts ...Option) (*Client, error) {
	return CreateContext(context.Background(), name, port, opts...)
}

// CreateContext is [Create] bounded by ctx as well. ctx has no part in the
// client's life after that.
func CreateContext(ctx context.Context, name string, port int, opts ...Option) (*Client, error) {
	o, port, err := resolve("create", name, port, opts)
	if err != nil {
		return nil, err
	}
	c := newClient(name, port, o)
	if ctx.Err() != nil {
		return nil, c.ended(ctx, "create", "", nil)
	}
	roles, cancel := context.WithCancelCause(context.Background())
	c.cancel = cancel
	go c.runRoles(roles)

	ctx, stop := context.WithTimeout(ctx, o.maxWait)
	defer stop()
	select {
	case <-c.ready:
		return c, nil
	case err = <-c.failed:
	case <-ctx.Done():
		err = c.ended(ctx, "create", "", c.waitedFor())
	}
	if closeErr := c.Close(); closeErr != nil {
		err = errors.Join(err, closeErr)
	}
	return nil, err
}

func newClient(name string, port int, o options) *Client {
	log := o.logger.Named("clusterclient").With("cluster", name)
	f, driver := follower.New(follower.Config{
		Name: name, Codec: o.codec, CallTimeout: o.callTimeout, StaleAfter: o.staleAfter, Logger: log, Probe: o.probe,
	})
	instance := make([]byte, 16)
	_, _ = rand.Read(instance) // never fails
	c := &Client{
		Follower: f, name: name, address: net.JoinHostPort(o.host, strconv.Itoa(port)),
		opts: o, log: log, driver: driver, instance: instance,
		done:   make(chan struct{}),
		ready:  make(chan struct{}),
		failed: make(chan error, 1),
	}
	c.status = newStatusBoard(c)
	c.shared = newSharedDir(c)
	c.lease = lease.New(c.shared.open, c.host(), c.address, name)
	if _, ok := o.network.(loopback); ok {
		c.opts.network = loopback{road{dir: c.shared.open, network: c.lease.Host().Network, trouble: new(atomic.Pointer[string])}}
	}
	c.policy = newPolicy(c)
	c.refusals.log = log
	return c
}

// self is this client as others see it.
func (c *Client) self() *clusterclientv1.Peer {
	return &clusterclientv1.Peer{
		Instance: c.instance, Pid: int64(os.Getpid()), Address: c.status.servedAt(),
		Program: clean(build.Program()), Build: build.Version(),
	}
}

// Resign gives the leadership up and returns when another process leads and
// this one follows it; a client that may only lead returns when its term is
// over. It does nothing when this process does not lead.
//
// This process leads until the next leader has opened its upstream and heard of
// every key. Calls wait while the two change places, for as long as those that
// are under way take, 5 s at most; no value turns stale. With
// [WithStrictlyOneUpstream] the next leader opens its upstream afterwards.
//
// It fails with [ErrNoCandidate] when no other process of the cluster could
// lead, or none was ready within 10 s, for the reason given: this process goes
// on then. It fails so, too, when those that could have not taken the
// leadership 3 s after it was given up, as can be with
// [WithStrictlyOneUpstream]: this process leads again then. It fails as well
// when ctx ends first. If another process was ready, or with
// [WithStrictlyOneUpstream], the leadership is given up then all the same.
func (c *Client) Resign(ctx context.Context) error {
	st, leading, _, over := c.status.read()
	switch {
	case over:
		return &Error{Code: errs.Closed, Op: "resign", Name: c.name}
	case leading == nil:
		return nil
	case ctx.Err() != nil:
		return c.ended(ctx, "resign", "", nil)
	}
	c.fill(&st, leading)
	if st.Candidates == 0 {
		return &Error{Code: errs.NoCandidate, Op: "resign", Name: c.name, Cause: fmt.Errorf("followers: %d, of which with an upstream: 0", st.Followers)}
	}
	if err := c.resign(ctx, leading); err != nil {
		return err
	}
	return c.replaced(ctx, leading, st.Candidates)
}

func (c *Client) closed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// Close withdraws this process's registrations, hands the leadership over as
// [Client.Resign] does if this process has it, lets calls that others have
// under way here finish, for up to 5 s, and returns when nothing of the client
// runs any more. If no other process is ready to lead within 10 s it is left to
// them to take over.
// Subscriptions and calls end with [ErrClosed]. Close is idempotent and safe
// to call from several goroutines; each gets the same error: that of closing
// the upstream, or of what of its and the handlers' code did not return.
func (c *Client) Close() error {
	if c.closing.CompareAndSwap(false, true) {
		c.driver.Withdraw()
		c.driver.Close()
		if _, leading, _, _ := c.status.read(); leading != nil {
			if err := c.prepare(context.Background(), leading); err != nil {
				c.log.Warn("nobody is ready to succeed", "error", err)
			}
		}
		c.cancel(errs.ErrClosed)
	}
	<-c.done
	return c.closeErr
}
