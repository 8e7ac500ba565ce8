package clusterclient_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

var followerOnly = clusterclient.WithRole(clusterclient.FollowerOnly)

func TestTakeovers(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		cluster.Start()
		c := cluster.Start(followerOnly)
		sub := mustSubscribe(t, c, "k")
		last := mustYield(t, sub, "0")
		for round := range 20 {
			cluster.Start()
			before := cluster.Leader()
			before.Kill()
			mustStayQuiet(t, sub) // a takeover alone
			mustBeFresh(t, sub)
			require.EqualValues(t, 2*round+2, c.Status().Term, "the term")

			cluster.Start()
			cluster.Leader().Kill()
			want := fmt.Sprint(round + 1)
			up.Set("k", want) // during the takeover
			v := mustYield(t, sub, want)
			require.Equal(t, 1, v.Revision.Compare(last.Revision), "round %d: %v is not after %v", round, v.Revision, last.Revision)
			mustStayQuiet(t, sub)
			last = v
		}
		require.Equal(t, 41, up.Opens())
		require.Equal(t, 1, up.Connections())
		require.Equal(t, 1, up.Watches("k"))
	})
}

// A process that has never heard of the cluster takes the port before those
// who have. It knows neither the term nor the values.
func TestTakeoverByANewcomer(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		a := cluster.Start()
		c := cluster.Start(followerOnly)
		sub := mustSubscribe(t, c, "k")
		last := mustYield(t, sub, "0")
		for round := range 20 {
			a.Kill()
			want := "0"
			if round%2 == 0 {
				want = fmt.Sprint(round + 1)
				up.Set("k", want)
			}
			a = cluster.Start()
			if round%2 == 0 {
				v := mustYield(t, sub, want)
				require.Equal(t, 1, v.Revision.Compare(last.Revision), "round %d: %v is not after %v", round, v.Revision, last.Revision)
				last = v
			}
			mustStayQuiet(t, sub)
			mustBeFresh(t, sub)
			require.EqualValues(t, round+2, a.Status().Term, "the leader's term")
			require.EqualValues(t, round+2, c.Status().Term, "the follower's term")
		}
	})
}

// The process that takes over knows a value that the upstream, when it comes
// back, has no more.
func TestTakeoverWhileTheUpstreamIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		c := cluster.Start(followerOnly)
		here, there := mustSubscribe(t, b, "k"), mustSubscribe(t, c, "k")
		for i := range 100 {
			up.Set("k", fmt.Sprint(i))
			mustNext(t, here)
			mustNext(t, there)
		}
		up.Hang(true)
		a.Kill()
		mustBecome(t, b, clusterclient.RoleLeader)
		mustStayQuiet(t, there)
		mustBeStale(t, there)
		late := cluster.Start(followerOnly)
		sub := mustSubscribe(t, late, "k")
		require.True(t, mustYield(t, sub, "99").Stale, "the last known value is all there is")
		up.Set("k", "100")
		up.Hang(false)
		for _, s := range []*follower.Subscription{here, there, sub} {
			require.False(t, mustYield(t, s, "100").Stale)
		}
	})
}

// observer is a subscription and what it has yielded.
type observer struct {
	name  string
	sub   *follower.Subscription
	known int // how many updates there had been when it subscribed
	got   []follower.Value
}

func (o *observer) read(ctx context.Context) {
	for v, err := range o.sub.Values(ctx) {
		if err != nil {
			return
		}
		o.got = append(o.got, v)
	}
}

// check compares what o has yielded with what the upstream reported.
func (o *observer) check(t *testing.T, history []string) {
	t.Helper()
	at := -1
	for i, v := range o.got {
		if i > 0 {
			before := o.got[i-1]
			require.Equal(t, 1, v.Revision.Compare(before.Revision), "%s: revision %v is not after %v", o.name, v.Revision, before.Revision)
			require.NotEqual(t, string(before.Data)+before.Version, string(v.Data)+v.Version, "%s: value yielded again", o.name)
		}
		next := slices.Index(history[at+1:], string(v.Data))
		require.GreaterOrEqual(t, next, 0, "%s: yields %q after %q, which is not the upstream's order", o.name, v.Data, history[max(at, 0)])
		at += next + 1
		if i == 0 {
			require.GreaterOrEqual(t, at, o.known-1, "%s: begins with %q, older than the newest known value", o.name, v.Data)
		}
	}
	require.Equal(t, len(history)-1, at, "%s: the last value yielded is not the upstream's", o.name)
}

// The formal promise to a subscriber, over random histories: what a
// subscription yields is a subsequence of what the upstream reported, in
// order, begins with the newest known value, with revisions that strictly
// grow, no value twice in a row, and ends with the upstream's value.
func TestDelivery(t *testing.T) {
	for range 30 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { testDelivery(t, seed) })
		if t.Failed() {
			t.Logf("again with: testDelivery(t, %d)", seed)
		}
	}
}

func testDelivery(t *testing.T, seed uint64) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		r := rand.New(rand.NewPCG(seed, 0))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var history []string
		var observers []*observer
		set := func() {
			history = append(history, fmt.Sprint(len(history)))
			up.Set("k", history[len(history)-1])
		}
		observe := func(n *clustertest.Node) {
			o := &observer{name: fmt.Sprintf("seed %d, observer %d", seed, len(observers)), known: newest(n)}
			o.sub = mustSubscribe(t, n, "k")
			observers = append(observers, o)
			go o.read(ctx)
		}
		set()
		cluster.Start()
		stays := []*clustertest.Node{cluster.Start(followerOnly), cluster.Start(followerOnly)}
		for range 200 {
			switch n := r.IntN(100); {
			case n < 50:
				set()
			case n < 60:
				observe(stays[r.IntN(len(stays))])
			case n < 65 && len(cluster.Followers()) < 6:
				cluster.Start()
			case n < 70:
				if l := cluster.Leader(); l != nil {
					l.Kill()
					cluster.Start() // if nobody else is quicker
				}
			case n < 73:
				if l := cluster.Leader(); l != nil {
					_ = l.Close()
					cluster.Start()
				}
			case n < 75:
				up.FailWatches([]error{nil, errOpen}[r.IntN(2)])
			case n < 77:
				up.Hang(r.IntN(2) == 0)
			case n < 90:
				time.Sleep(time.Duration(r.IntN(1000)) * time.Millisecond)
			default:
				synctest.Wait()
			}
		}
		observe(stays[0])
		up.FailWatches(nil)
		up.Hang(false)
		set()
		time.Sleep(2 * longEnough)
		cancel()
		synctest.Wait()
		for _, o := range observers {
			o.check(t, history)
		}
		for _, o := range observers {
			mustBeFresh(t, o.sub)
		}
	})
}

// newest returns how many updates n knows of, at least, from the value that it
// holds.
func newest(n *clustertest.Node) int {
	sub, err := n.Subscribe(context.Background(), "k")
	if err != nil {
		return 0
	}
	defer func() { _ = sub.Close() }()
	v, ok := sub.Value()
	if !ok {
		return 0
	}
	var i int
	_, _ = fmt.Sscan(string(v.Data), &i)
	return i + 1
}
