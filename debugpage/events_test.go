package debugpage_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/debugpage"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// inBubble runs test in fake time, with an upstream and a cluster that has no
// client yet.
func inBubble(t *testing.T, test func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
		}
		test(t, up, clustertest.New(t, up))
	})
}

func subscribe(t *testing.T, n *clustertest.Node, keys ...string) {
	t.Helper()
	for _, key := range keys {
		sub, err := n.Subscribe(t.Context(), key)
		require.NoError(t, err)
		_, err = sub.Next(t.Context())
		require.NoError(t, err)
	}
}

// within lets time pass.
func within(d time.Duration) {
	time.Sleep(d) // fake
	synctest.Wait()
}

func TestEventsTellOfTheCluster(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads, follows := cluster.Start(), cluster.Start()
		up.Set("k", "one")
		subscribe(t, leads, "k")
		subscribe(t, follows, "k", "other")
		for _, n := range []*clustertest.Node{leads, follows} {
			b := look(t, debugpage.Handler(n.Client), "/events")
			within(2 * time.Second)
			s := b.newest()
			require.Equal(t, n.Role().String(), s.Stats.Role)
			require.EqualValues(t, 1, s.Name.Term)
			require.Equal(t, 2, s.Followers)
			require.True(t, s.Name.Leadership.Upstream.Open)
			require.Empty(t, s.Name.Leadership.Keys, "they are in the table")
			require.False(t, s.Past)
			require.Equal(t, 2, s.Keys.Total)
			require.Equal(t, "k", s.Keys.Rows[0].Key)
			require.Equal(t, 1, s.Keys.Rows[0].Processes, "both are in this process")
			b.leave()
		}
	})
}

func TestEventsFollowATakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, second := cluster.Start(), cluster.Start()
		up.Set("k", "one")
		subscribe(t, second, "k")
		b := look(t, debugpage.Handler(second.Client), "/events")
		within(2 * time.Second)
		up.HangOpen(true)
		first.Kill()
		within(time.Second)
		s := b.newest()
		require.Equal(t, "none", s.Stats.Role)
		require.NotEmpty(t, s.Stats.Waiting)
		require.True(t, s.Past, "the leader is gone")
		require.Equal(t, 1, s.Stats.StaleKeys)
		require.Equal(t, 2, s.Followers, "what was known last stays")
		up.HangOpen(false)
		within(time.Second)
		s = b.newest()
		require.Equal(t, "leader", s.Stats.Role)
		require.False(t, s.Past)
		require.Empty(t, s.Trouble)
		require.EqualValues(t, 2, s.Name.Term)
		require.Equal(t, 1, s.Stats.Takeovers)
		require.Equal(t, 1, s.Followers)
	})
}

func TestEventsTellWhyAKeyIsStale(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		up.Set("k", "one")
		subscribe(t, n, "k")
		up.FailWatches(errors.New("the disk is full"))
		b := look(t, debugpage.Handler(n.Client), "/events")
		within(2 * time.Second)
		s := b.newest()
		require.Equal(t, 1, s.Keys.Stale)
		require.Equal(t, "stale", s.Keys.Rows[0].Value.State)
		require.Contains(t, s.Keys.Rows[0].Value.Reason, "the disk is full")
	})
}

func TestEventsHaveSomeOfManyKeys(t *testing.T) {
	for _, keys := range []int{250, 2500} { // the leader is asked for what a filter keeps of the latter
		t.Run(fmt.Sprint(keys), func(t *testing.T) { someOf(t, keys) })
	}
}

func someOf(t *testing.T, keys int) {
	t.Helper()
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		for i := range keys {
			key := fmt.Sprintf("app/%04d", i)
			up.Set(key, "v")
			subscribe(t, n, key)
		}
		subscribe(t, n, "Other/1")
		h := debugpage.Handler(n.Client)
		for _, test := range []struct {
			query         string
			rows, matched int
			first         string
		}{
			{query: "", rows: 200, matched: keys + 1, first: "Other/1"},
			{query: "?filter=APP%2F", rows: 200, matched: keys, first: "app/0000"},
			{query: "?filter=app/024", rows: 10, matched: 10, first: "app/0240"},
			{query: "?filter=other", rows: 1, matched: 1, first: "Other/1"},
			{query: "?filter=none"},
			{query: "?stale=1"},
		} {
			b := look(t, h, "/debug/events"+test.query)
			within(2 * time.Second)
			s := b.newest()
			require.Len(t, s.Keys.Rows, test.rows, test.query)
			require.Equal(t, test.matched, s.Keys.Matched, test.query)
			require.Equal(t, keys+1, s.Keys.Total, test.query)
			if test.rows > 0 {
				require.Equal(t, test.first, s.Keys.Rows[0].Key, test.query)
			}
			b.leave()
		}
	})
}

func TestRates(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads, follows := cluster.Start(), cluster.Start()
		subscribe(t, leads, "k")
		subscribe(t, follows, "k")
		b := look(t, debugpage.Handler(follows.Client), "/events")
		within(time.Second)
		for i := range 30 {
			up.Set("k", fmt.Sprint(i))
			var out []byte
			require.NoError(t, follows.Invoke(t.Context(), "echo", []byte("x"), &out))
			within(100 * time.Millisecond)
		}
		s := b.newest()
		require.GreaterOrEqual(t, len(s.Rates), 3)
		last := s.Rates[len(s.Rates)-1]
		require.InDelta(t, 10, last.Updates, 2)
		require.InDelta(t, 20, last.Sent, 4)
		require.InDelta(t, 10, last.Calls, 2)
		within(5 * time.Minute)
		s = b.newest()
		require.LessOrEqual(t, len(s.Rates), 120)
		require.Greater(t, len(s.Rates), 100)
		require.Zero(t, s.Rates[len(s.Rates)-1].Updates)
	})
}

// The test's bubble fails if a goroutine is left.
func TestEventsEndWithTheirRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		h := debugpage.Handler(n.Client)
		one, two := look(t, h, "/events"), look(t, h, "/events")
		within(10 * time.Second)
		one.leave()
		before := two.count()
		within(10 * time.Second)
		require.Greater(t, two.count(), before, "the other one goes on")
		two.leave()
		again := look(t, h, "/events")
		within(time.Second)
		require.NotNil(t, again.newest().Name)
	})
}

func TestEventsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		h := debugpage.Handler(n.Client)
		var all []*browser
		for range 16 {
			all = append(all, look(t, h, "/events"))
		}
		within(10 * time.Second)
		for _, b := range all {
			require.InDelta(t, 10, b.count(), 8, "about one a second")
			require.LessOrEqual(t, b.count(), 50)
		}
		refused := look(t, h, "/events")
		within(time.Second)
		require.Equal(t, http.StatusServiceUnavailable, refused.status())
		all[3].leave()
		b := look(t, h, "/events")
		within(time.Second)
		require.Positive(t, b.count())
	})
}

func TestEventsOfAClosedClient(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		b := look(t, debugpage.Handler(n.Client), "/events")
		within(time.Second)
		require.NoError(t, n.Close())
		within(2 * time.Second)
		s := b.newest()
		require.True(t, s.Closed)
		require.True(t, s.Past)
	})
}

func TestEventsOfSeveralClients(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		one := cluster.Start()
		two, err := cluster.TryStart("second")
		require.NoError(t, err)
		h := debugpage.Handler(one.Client, two.Client)
		b := look(t, h, "/events?client=1")
		within(2 * time.Second)
		s := b.newest()
		require.Len(t, s.Clients, 2)
		require.Equal(t, "second", s.Clients[1].Name)
		require.Equal(t, clusterclient.RoleLeader.String(), s.Clients[1].Role)
		mustAnswer(t, http.StatusNotFound, h, "/events?client=2")
		mustAnswer(t, http.StatusNotFound, h, "/explain?client=-1&key=k")
	})
}

func TestEventsPassProxies(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		b := look(t, debugpage.Handler(cluster.Start().Client), "/events")
		synctest.Wait()
		require.Positive(t, b.count(), "the first event is there at once, flushed")
		require.Equal(t, "text/event-stream", b.header.Get("Content-Type"))
		require.Equal(t, "no", b.header.Get("X-Accel-Buffering"))
		require.Contains(t, b.header.Get("Cache-Control"), "no-store")
	})
}
