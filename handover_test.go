package clusterclient_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// A busy cluster is one whose clients subscribe and call all the time, while
// the value changes and somebody connects to the port. It holds what nobody may
// notice of a hand-over.
type busy struct {
	*clustertest.Cluster
	t  *testing.T
	up *clustertest.Upstream

	over    chan struct{}
	running sync.WaitGroup
	rough   bool // values may be stale, and the port free for a moment
	dials   *clustertest.Host
	calls   atomic.Int64
}

// inBusy runs test with n clients.
func inBusy(t *testing.T, n int, test func(*testing.T, *busy)) {
	t.Helper()
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "echo", func(_ context.Context, s string) (string, error) { return s, nil })
			leader.Handle(r, "work", func(_ context.Context, d time.Duration) (string, error) { time.Sleep(d); return "done", nil })
		}
		up.Set("n", "0")
		b := &busy{Cluster: cluster, t: t, up: up, over: make(chan struct{}), dials: cluster.Network.Host()}
		var nodes []*clustertest.Node
		for range n {
			nodes = append(nodes, cluster.Start())
		}
		for _, node := range nodes {
			b.join(node)
		}
		b.every(20*time.Millisecond, b.change)
		b.every(13*time.Millisecond, b.dial)
		b.settle()
		defer func() {
			b.settle()
			close(b.over)
			b.running.Wait()
			assert.Positive(t, b.calls.Load())
		}()
		test(t, b)
	})
}

// settle gives everything time to show.
func (b *busy) settle() {
	time.Sleep(4 * time.Second)
	synctest.Wait()
}

func (b *busy) every(d time.Duration, do func(i int)) {
	b.running.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-b.over:
				return
			case <-time.After(d):
				do(i)
			}
		}
	})
}

func (b *busy) change(i int) { b.up.Set("n", strconv.Itoa(i)) }

func (b *busy) dial(int) {
	conn, err := b.dials.Dial(b.t.Context(), "127.0.0.1:"+strconv.Itoa(clustertest.Port))
	if err == nil {
		_ = conn.Close()
	} else if !b.rough {
		assert.NoError(b.t, err, "the port is bound all the time")
	}
}

// join makes a client subscribe and call until it is closed.
func (b *busy) join(n *clustertest.Node) {
	sub := mustSubscribe(b.t, n, "n", follower.WithStates())
	mustNext(b.t, sub)
	b.running.Go(func() { b.watch(sub) })
	ctx := b.t.Context()
	b.running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-b.over:
				return
			case <-time.After(25 * time.Millisecond):
			}
			want := strconv.Itoa(i)
			got, err := clusterclient.Invoke[string, string](ctx, n.Client, "echo", want)
			if errors.Is(err, clusterclient.ErrClosed) {
				return
			}
			if !assert.NoError(b.t, err, "call %d", i) || !assert.Equal(b.t, want, got) {
				return
			}
			b.calls.Add(1)
		}
	})
}

// watch holds that values go on, are fresh and never go back.
func (b *busy) watch(sub *follower.Subscription) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-b.over; cancel() }()
	last, rev := -1, follower.Revision{}
	for {
		v, err := sub.Next(ctx)
		if err != nil {
			return
		}
		n, _ := strconv.Atoi(string(v.Data))
		assert.GreaterOrEqual(b.t, n, last, "the value went back, at %v after %v", v.Revision, rev)
		if !v.Repeated {
			assert.Positive(b.t, v.Revision.Compare(rev), "revision %v came after %v", v.Revision, rev)
		}
		if !b.rough && v.Stale {
			assert.Fail(b.t, "a stale value", "%d: %v", n, v.Reason)
		}
		last, rev = n, v.Revision
	}
}

// quiet holds what is true once nothing happens any more.
func (b *busy) quiet() {
	b.t.Helper()
	require.Equal(b.t, 1, b.up.Connections(), "connections to the upstream")
	require.Equal(b.t, 1, b.up.Watches("n"), "watches")
}

func TestHandOver(t *testing.T) {
	inBusy(t, 4, func(t *testing.T, b *busy) {
		for range 5 {
			was := b.Leader()
			term := was.Status().Term
			require.NoError(t, was.Resign(t.Context()))
			require.Equal(t, clusterclient.RoleFollower, was.Role())
			require.EqualValues(t, term+1, b.Leader().Status().Term)
			b.settle()
			b.quiet()
		}
		require.Equal(t, 6, b.up.Opens())
	})
}

// A rolling restart: each process is closed, and another one started.
func TestHandOverByClose(t *testing.T) {
	inBusy(t, 3, func(t *testing.T, b *busy) {
		for range 2 {
			for _, n := range append(b.Followers(), b.Leader()) {
				require.NoError(t, n.Close())
				b.join(b.Start())
				b.settle()
			}
			b.quiet()
		}
	})
}

// What is open when the next leader opens its upstream.
func TestStrictlyOneUpstream(t *testing.T) {
	strict := []clusterclient.Option{clusterclient.WithStrictlyOneUpstream()}
	for _, test := range []struct {
		name        string
		first, next []clusterclient.Option
		open        int
	}{
		{"leader", strict, nil, 0},
		{"successor", nil, strict, 0},
		{"neither", nil, nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				first := cluster.Start(test.first...)
				var open []int
				next := cluster.Start(append(test.next, clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
					open = append(open, up.Connections())
					return up.Open(ctx)
				}))...)
				mustNext(t, mustSubscribe(t, next, "k"))
				require.NoError(t, first.Resign(t.Context()))
				mustBecome(t, next, clusterclient.RoleLeader)
				require.Equal(t, 1, up.Connections())
				require.Equal(t, []int{test.open}, open, "connections when another one is opened")
			})
		})
	}
}

// Nobody else can open the upstream.
func TestHandOverUpstreamDoesNotOpen(t *testing.T) {
	refused := errors.New("refused")
	inBusy(t, 3, func(t *testing.T, b *busy) {
		was := b.Leader()
		b.up.FailOpen(refused)
		err := was.Resign(t.Context())
		require.ErrorIs(t, err, clusterclient.ErrNoCandidate)
		require.ErrorContains(t, err, "refused")
		require.Equal(t, clusterclient.RoleLeader, was.Role(), "the leader goes on")
		b.settle()
		b.quiet()

		b.rough = true
		b.running.Go(func() { time.Sleep(2 * time.Second); b.up.FailOpen(nil) })
		require.NoError(t, was.Close())
		time.Sleep(longEnough)
		require.NotNil(t, b.Leader())
		b.quiet()
	})
}

// openings tells who opens the upstream, and lets the first one hang that does
// so after the leader.
type openings struct {
	up    *clustertest.Upstream
	first sync.Once
	asked chan int // the first one; one slot
	free  chan struct{}
}

func (o *openings) option(i int) clusterclient.Option {
	return clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
		hangs := false
		o.first.Do(func() { hangs = true })
		if hangs {
			o.asked <- i
			select {
			case <-o.free:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return o.up.Open(ctx)
	})
}

// The first one that is asked never answers.
func TestHandOverToTheNextBest(t *testing.T) {
	for name, hit := range map[string]func(*clustertest.Node){
		"killed": (*clustertest.Node).Kill, "frozen": (*clustertest.Node).Freeze, "slow": func(*clustertest.Node) {},
		"closed": func(n *clustertest.Node) { _ = n.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				o := openings{up: up, asked: make(chan int, 1), free: make(chan struct{})}
				first := cluster.Start()
				var others []*clustertest.Node
				for i := range 3 {
					others = append(others, cluster.Start(o.option(i)))
				}
				resigned := make(chan error, 1)
				go func() { resigned <- first.Resign(t.Context()) }()
				asked := others[<-o.asked]
				hit(asked)
				require.NoError(t, <-resigned)
				require.NotEqual(t, clusterclient.RoleLeader, asked.Role())
				close(o.free)
				asked.Thaw()
				time.Sleep(longEnough)
				require.Equal(t, 1, up.Connections())
				require.EqualValues(t, 2, cluster.Leader().Status().Term)
			})
		})
	}
}

// The successor is lost when the old leader has begun to leave.
func TestHandOverSuccessorLost(t *testing.T) {
	for name, hit := range map[string]func(*clustertest.Node){
		"killed": (*clustertest.Node).Kill, "frozen": (*clustertest.Node).Freeze,
		"closed": func(n *clustertest.Node) { _ = n.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inBusy(t, 3, func(t *testing.T, b *busy) {
				b.rough = true
				o := openings{up: b.up, asked: make(chan int, 1), free: make(chan struct{})}
				close(o.free)
				next, was := b.Start(o.option(0)), b.Leader()
				for _, n := range b.Followers() {
					if n != next {
						require.NoError(t, n.Close()) // it is the only one to be asked
					}
				}
				caller := b.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				b.settle()
				done := make(chan error, 1)
				go func() { // holds up the leaving
					got, err := clusterclient.Invoke[time.Duration, string](t.Context(), caller.Client, "work", 3*time.Second)
					assert.Equal(t, "done", got)
					done <- err
				}()
				time.Sleep(time.Millisecond)
				resigned := make(chan error, 1)
				go func() { resigned <- was.Resign(t.Context()) }()
				<-o.asked
				time.Sleep(time.Second)
				hit(next)
				require.NoError(t, <-done)
				require.ErrorIs(t, <-resigned, clusterclient.ErrNoCandidate)
				time.Sleep(15 * time.Second)
				require.Equal(t, clusterclient.RoleLeader, was.Role(), "nobody else can lead")
				if name == "frozen" {
					next.Thaw()
				}
				b.settle()
				require.True(t, was == b.Leader(), "the leader has changed")
				b.quiet()
			})
		})
	}
}
