package clusterclient_test

import (
	"cmp"
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

var (
	historySteps = flag.Int("steps", 0, "of each test of histories, over all of them; 0 for a few")
	historySeed  = flag.Uint64("seed", 0, "of the first history of each test; 0 for a random one, or the same few each time")
)

// stepsEach is how long one history is.
const stepsEach = 2000

// eachHistory runs histories, so many and from the seed first on, 0 for a random
// one, unless a flag says otherwise. All that one does follows from its seed; how
// goroutines take turns in it does not.
func eachHistory(t *testing.T, histories int, first uint64, run func(*turmoil)) {
	random := rand.Uint64()>>1 + 1
	seed := cmp.Or(*historySeed, first, random)
	if *historySteps > 0 {
		seed = cmp.Or(*historySeed, random)
		histories = max(1, *historySteps/stepsEach)
	}
	of := t.Name()
	for n := range histories {
		seed := seed + uint64(n)
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("again with: make histories OF=%s SEED=%d STEPS=%d", of, seed, stepsEach)
				}
			}()
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				run(&turmoil{t: t, r: rand.New(rand.NewPCG(seed, 0)), up: up, cluster: cluster, stays: 2})
			})
		})
	}
}

// A turmoil is a cluster whose processes come and go, are stopped, and change
// places. What they do meanwhile is a history's.
type turmoil struct {
	t       *testing.T
	r       *rand.Rand
	up      *clustertest.Upstream
	cluster *clustertest.Cluster

	gentle  bool                    // nobody is killed or stopped, and no network stalls
	orderly bool                    // one leaves at a time, and only if another one could lead
	keeps   bool                    // the leader that there is stays as it is, whoever else is killed
	ends    func(*clustertest.Node) // hears of each node that is about to end; may be nil

	nodes   []*clustertest.Node // that were not ended
	stays   int                 // how many of those, the first ones, only follow
	stopped *clustertest.Node   // nil when none is
	stops   stoppages
	stalls  stoppages  // of the first node
	slow    *stallable // network of the first node
	stalled bool
	rough   []time.Time // when something happened that is not gentle, or was undone
	leaving sync.WaitGroup
	leavers atomic.Int32
}

// begin starts the first nodes.
func (m *turmoil) begin() {
	m.up.Starts = m.r.IntN(2) == 0
	m.slow = newStallable(m.cluster)
	first := m.cluster.Start()
	m.nodes = []*clustertest.Node{m.cluster.Start(followerOnly, m.slow.option()), m.cluster.Start(followerOnly), first}
}

// upheaval is a change of who is there.
func (m *turmoil) upheaval() {
	leader, other := m.leader(), m.nodes[m.stays+m.r.IntN(len(m.nodes)-m.stays)]
	switch n := m.r.IntN(20); {
	case n < 4 && len(m.nodes) < 6:
		m.join()
	case m.orderly && (m.leavers.Load() > 0 || len(m.nodes) < m.stays+2):
	case n < 10:
		m.leave(n, leader, other)
	case !m.gentle:
		m.fail(n, leader, other)
	}
}

// leave has somebody go in peace.
func (m *turmoil) leave(n int, leader, other *clustertest.Node) {
	switch {
	case n < 8 && m.keeps || other == leader && m.keeps:
	case n < 6:
		m.resign(leader)
	case n < 8:
		m.end(leader, m.close)
	default:
		m.end(other, m.close)
	}
}

// fail has somebody fail.
func (m *turmoil) fail(n int, leader, other *clustertest.Node) {
	switch {
	case n < 12 && other != leader:
		m.end(other, m.kill)
	case n < 15:
		m.stall(!m.stalled)
	case m.keeps:
	case n < 18:
		m.end(leader, m.kill)
	case m.stopped != nil:
		m.thaw()
	default:
		m.freeze(leader)
	}
}

// A stop is when a process was stopped, or its network stalled.
type stop struct {
	node     *clustertest.Node
	from, to time.Time // to is zero while it is
}

// stoppages are those of one kind.
type stoppages []stop

func (s *stoppages) begin(n *clustertest.Node) { *s = append(*s, stop{node: n, from: time.Now()}) }

func (s stoppages) end() { s[len(s)-1].to = time.Now() }

// hit reports whether the node had one between two times.
func (s stoppages) hit(n *clustertest.Node, from, to time.Time) bool {
	return slices.ContainsFunc(s, func(s stop) bool {
		return s.node == n && !s.from.After(to) && (s.to.IsZero() || !s.to.Before(from))
	})
}

func (m *turmoil) freeze(n *clustertest.Node) {
	m.isRough()
	m.stops.begin(n)
	m.stopped = n
	n.Freeze()
}

func (m *turmoil) isRough() { m.rough = append(m.rough, time.Now()) }

// calm ends all trouble.
func (m *turmoil) calm() {
	m.thaw()
	m.stall(false)
}

// rest waits until everybody has heard that the trouble is over.
func (m *turmoil) rest() {
	m.leaving.Wait()
	time.Sleep(3 * longEnough)
	synctest.Wait()
}

// leader returns a node that leads, or could.
func (m *turmoil) leader() *clustertest.Node {
	for _, n := range m.nodes[m.stays:] {
		if n.Role() == clusterclient.RoleLeader && n != m.stopped {
			return n
		}
	}
	return m.nodes[m.stays]
}

func (m *turmoil) kill(n *clustertest.Node) {
	m.isRough()
	n.Kill()
}

// close goes on while other things happen, as does resign.
func (m *turmoil) close(n *clustertest.Node) { m.leaves(func() { _ = n.Close() }) }

func (m *turmoil) resign(n *clustertest.Node) {
	ctx := context.WithoutCancel(m.t.Context())
	m.leaves(func() { _ = n.Resign(ctx) }) // fails when nobody else can lead
}

func (m *turmoil) leaves(leave func()) {
	m.leavers.Add(1)
	m.leaving.Go(func() {
		defer m.leavers.Add(-1)
		leave()
	})
	if !m.gentle { // who is to lead next may be killed
		m.isRough()
	}
}

// end takes a node away, by means of how, and sees to it that another one can
// lead.
func (m *turmoil) end(n *clustertest.Node, how func(*clustertest.Node)) {
	if n == m.stopped {
		m.thaw()
	}
	if m.ends != nil {
		m.ends(n)
	}
	how(n)
	rest := m.nodes[:0]
	for _, other := range m.nodes {
		if other != n {
			rest = append(rest, other)
		}
	}
	m.nodes = rest
	if len(m.nodes) == m.stays {
		m.join()
	}
}

// join adds a node that can lead. One that was stopped goes on before: who holds
// the port and was replaced is not known to a newcomer when nobody leads.
func (m *turmoil) join() {
	m.thaw()
	m.nodes = append(m.nodes, m.cluster.Start())
}

func (m *turmoil) thaw() {
	if m.stopped != nil {
		m.isRough()
		m.stops.end()
		m.stopped.Thaw()
		m.stopped = nil
	}
}

func (m *turmoil) stall(stalled bool) {
	if stalled != m.stalled {
		m.isRough()
	}
	switch {
	case stalled && !m.stalled:
		m.stalls.begin(m.nodes[0])
		m.slow.stall()
	case !stalled && m.stalled:
		m.stalls.end()
		m.slow.release()
	}
	m.stalled = stalled
}
