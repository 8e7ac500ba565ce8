package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// A brokenNetwork is that of one process whose connections pass bytes on in
// random pieces and break after a random number of them, which is as likely as
// not in the middle of a frame. After a while they hold.
type brokenNetwork struct {
	*clustertest.Host

	mu   sync.Mutex // guards what follows
	rand *rand.Rand
	left int // connections that are still to break
}

func (n *brokenNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := n.Host.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.left--; n.left < 0 {
		return c, nil
	}
	broken := &brokenConn{Conn: c, n: n}
	broken.in.Store(n.rand.Int64N(20_000))
	broken.out.Store(n.rand.Int64N(20_000))
	return broken, nil
}

func (n *brokenNetwork) piece(size int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return 1 + n.rand.IntN(size)
}

// brokenConn breaks after so many bytes in one direction or the other.
type brokenConn struct {
	net.Conn
	n       *brokenNetwork
	in, out atomic.Int64 // bytes that may still pass
}

func (c *brokenConn) Read(p []byte) (int, error) {
	left := int(c.in.Load())
	if left <= 0 {
		_ = c.Close()
		return 0, errors.New("broken while reading")
	}
	n, err := c.Conn.Read(p[:min(len(p), c.n.piece(512), left)])
	c.in.Add(-int64(n))
	return n, err
}

func (c *brokenConn) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		left := int(c.out.Load())
		if left <= 0 {
			_ = c.Close()
			return written, errors.New("broken while writing")
		}
		n, err := c.Conn.Write(p[:min(len(p), c.n.piece(512), left)])
		c.out.Add(-int64(n))
		written, p = written+n, p[n:]
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// counted are two methods that count how often each argument was run.
type counted struct {
	mu   sync.Mutex
	runs map[string]int
}

func (c *counted) run(_ context.Context, arg string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[arg]++
	return "done " + arg, nil
}

func (c *counted) register(r *leader.Registry) {
	leader.Handle(r, "once", c.run)
	leader.Handle(r, "again", c.run, leader.Idempotent())
}

// TestSessionsThatBreakAnywhere breaks a follower's sessions between and
// inside frames, under calls and updates.
func TestSessionsThatBreakAnywhere(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) { breakSessions(t, seed) })
		})
	}
}

func breakSessions(t *testing.T, seed uint64) {
	up, runs := clustertest.NewUpstream(), &counted{runs: make(map[string]int)}
	up.Methods = runs.register
	up.Set("k", "0")
	cluster := clustertest.New(t, up)
	cluster.Start()
	network := &brokenNetwork{Host: cluster.Network.Host(), rand: rand.New(rand.NewPCG(seed, 0)), left: 30}
	c := cluster.Start(clusterclient.WithNetwork(network), clusterclient.WithRole(clusterclient.FollowerOnly))

	const callers, calls = 8, 60
	var wg sync.WaitGroup
	var answered, unknown atomic.Int64
	for i := range callers {
		wg.Go(func() {
			for j := range calls {
				method := []string{"once", "again"}[j%2]
				arg := fmt.Sprintf("%s %d %d %*d", method, i, j, j*5, 0)
				got, err := clusterclient.Invoke[string, string](t.Context(), c.Client, method, arg)
				if err == nil {
					require.Equal(t, "done "+arg, got)
					answered.Add(1)
					continue
				}
				require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown, arg)
				require.Equal(t, "once", method, "a method that may run again")
				unknown.Add(1)
			}
		})
	}
	sub := mustSubscribe(t, c.Client, "k")
	wg.Go(func() {
		for i := range 200 {
			up.Set("k", strconv.Itoa(i+1))
			_, err := clusterclient.Invoke[string, string](t.Context(), c.Client, "again", "between updates")
			require.NoError(t, err)
		}
	})
	before := -1
	for before < 200 {
		v := mustNext(t, sub)
		now, err := strconv.Atoi(string(v.Data))
		require.NoError(t, err)
		require.Greater(t, now, before, "the value went back, at revision %v", v.Revision)
		before = now
	}
	wg.Wait()

	require.EqualValues(t, callers*calls, answered.Load()+unknown.Load())
	for arg, n := range runs.runs {
		if arg[:4] == "once" {
			require.Equal(t, 1, n, "runs of %q", arg)
		}
	}
	require.Less(t, network.left, 26, "connections that did not break")
	t.Logf("%d calls answered, %d of unknown outcome", answered.Load(), unknown.Load())
}
