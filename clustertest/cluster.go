package clustertest

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/leader"
)

// Name and Port are those of a [Cluster]'s clients.
const (
	Name = "test"
	Port = 17777
)

// A Cluster is any number of clients, each as if it had a process of its own,
// on one network in memory. Its methods may be called from several goroutines;
// those that fail the test only from the test's own.
type Cluster struct {
	// Network joins the clients; a test may listen on it itself.
	Network Network

	t    testing.TB
	up   *Upstream
	opts []clusterclient.Option

	mu    sync.Mutex // guards what follows
	nodes []*Node
}

// New returns a Cluster without clients. Those that it starts use up and opts.
// The clients that are left are closed when the test ends.
func New(t testing.TB, up *Upstream, opts ...clusterclient.Option) *Cluster {
	c := &Cluster{Network: Network{Dir: t.TempDir()}, t: t, up: up, opts: opts}
	t.Cleanup(c.close)
	return c
}

// A Node is one client of a [Cluster], and its process.
type Node struct {
	*clusterclient.Client

	host    *Host
	up      *Upstream
	mu      sync.Mutex // guards what follows
	conns   []*connection
	killed  bool
	blind   error
	closing sync.WaitGroup
}

// Start starts one more client and fails the test if it does not come up. opts
// come after those of the cluster.
func (c *Cluster) Start(opts ...clusterclient.Option) *Node {
	c.t.Helper()
	n, err := c.TryStart(Name, opts...)
	if err != nil {
		c.t.Fatalf("start a client: %v", err)
	}
	return n
}

// TryStart starts one more client in the cluster called name, on the same
// port.
func (c *Cluster) TryStart(name string, opts ...clusterclient.Option) (*Node, error) {
	return c.TryStartAs(os.Geteuid(), name, opts...)
}

// TryStartAs is TryStart in a process of the user uid.
func (c *Cluster) TryStartAs(uid int, name string, opts ...clusterclient.Option) (*Node, error) {
	n := &Node{host: c.Network.HostOf(uid), up: c.up}
	all := []clusterclient.Option{clusterclient.WithNetwork(n.host), clusterclient.WithUpstream(n.open)}
	client, err := clusterclient.Create(name, Port, slices.Concat(all, c.opts, opts)...)
	if err != nil {
		return nil, err
	}
	n.Client = client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes = append(c.nodes, n)
	return n, nil
}

// living returns the clients that were not killed.
func (c *Cluster) living() []*Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *Node) bool { return n.isKilled() })
}

// Leader returns the one client that leads, nil when there is none. It fails
// the test when several do.
func (c *Cluster) Leader() *Node {
	c.t.Helper()
	var leads *Node
	for _, n := range c.living() {
		if n.Role() != clusterclient.RoleLeader {
			continue
		}
		if leads != nil {
			c.t.Fatalf("two clients lead: terms %d and %d", leads.Status().Term, n.Status().Term)
		}
		leads = n
	}
	return leads
}

// Followers returns the clients that follow.
func (c *Cluster) Followers() []*Node {
	var follow []*Node
	for _, n := range c.living() {
		if n.Role() == clusterclient.RoleFollower {
			follow = append(follow, n)
		}
	}
	return follow
}

// Kill ends the client as kill -9 ends a process: its connections break and it
// says goodbye to nobody, neither to its followers nor to the upstream.
func (n *Node) Kill() {
	n.mu.Lock()
	again := n.killed
	n.killed = true
	conns := n.conns
	n.mu.Unlock()
	if again {
		return
	}
	n.host.Kill()
	for _, c := range conns {
		c.end(ErrKilled)
	}
	n.closing.Go(func() { _ = n.Close() })
}

// Freeze stops the process as SIGSTOP does; see [Host.Freeze]. What runs
// within the process alone goes on, but nobody hears of it.
func (n *Node) Freeze() { n.host.Freeze() }

// Thaw lets the process go on, as SIGCONT does.
func (n *Node) Thaw() { n.host.Thaw() }

// Blind keeps the process, and no other one, from reaching the upstream: what
// it asks of it fails with err, as do its watches, until Blind is called with
// nil.
func (n *Node) Blind(err error) {
	n.mu.Lock()
	n.blind = err
	conns := slices.Clone(n.conns)
	n.mu.Unlock()
	for _, c := range conns {
		c.turnBlind(err)
	}
}

// Reach connects to the upstream, as the probe of
// clusterclient.WithResignWhenBlind does, and returns why that fails.
func (n *Node) Reach(ctx context.Context) error {
	if err := n.isBlind(); err != nil {
		return err
	}
	opened, err := n.up.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = opened.Close() }()
	return connectionOf(opened).Probe(ctx)
}

func (n *Node) isBlind() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.blind
}

func (n *Node) isKilled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.killed
}

// open connects to the upstream in a way that Kill and Blind can cut.
func (n *Node) open(ctx context.Context) (leader.Upstream, error) {
	if err := n.isBlind(); err != nil {
		return nil, err
	}
	opened, err := n.up.Open(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed {
		_ = opened.Close()
		return nil, ErrKilled
	}
	n.conns = append(n.conns, connectionOf(opened))
	return opened, nil
}

func (c *Cluster) close() {
	c.mu.Lock()
	nodes := slices.Clone(c.nodes)
	c.mu.Unlock()
	for _, n := range nodes {
		n.Thaw()
	}
	for _, n := range slices.Backward(nodes) {
		_ = n.Close()
		n.closing.Wait()
	}
}
