package clusterclient_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A household is a process with one client for each name.
type household map[string]*clustertest.Node

func startHousehold(t *testing.T, cluster *clustertest.Cluster, ups map[string]*clustertest.Upstream) household {
	t.Helper()
	h := household{}
	for name, up := range ups { // in any order: who leads what differs
		h[name] = mustStart(t, cluster, name, up)
	}
	return h
}

func (h household) kill() {
	for _, n := range h {
		n.Kill()
	}
}

// leaderOf returns the one that leads name, and holds that all others follow it.
func leaderOf(t *testing.T, all []household, name string) *clustertest.Node {
	t.Helper()
	var leads *clustertest.Node
	for _, h := range all {
		if h[name].Role() == clusterclient.RoleLeader {
			require.Nil(t, leads, "two processes lead %q", name)
			leads = h[name]
		}
	}
	require.NotNil(t, leads, "nobody leads %q", name)
	want := leads.Status()
	for _, h := range all {
		st := h[name].Status()
		require.Equal(t, want.Term, st.Term, "%q: %+v", name, st)
		require.Equal(t, want.LeaderAddress, st.LeaderAddress)
	}
	return leads
}

// Three names in four processes, which are killed at random: a name whose
// leader lives keeps leader and term, whoever owns the port.
func TestNamesMoveAlone(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		random := rand.New(rand.NewPCG(seed, 0))
		ups := map[string]*clustertest.Upstream{"X": clustertest.NewUpstream(), "Y": clustertest.NewUpstream(), "Z": clustertest.NewUpstream()}
		var all []household
		for range 4 {
			all = append(all, startHousehold(t, cluster, ups))
		}
		for range 30 {
			leads, terms := map[string]*clustertest.Node{}, map[string]uint64{}
			for name := range ups {
				leads[name] = leaderOf(t, all, name)
				terms[name] = leads[name].Status().Term
			}
			i := random.IntN(len(all))
			dead := all[i]
			all = append(all[:i:i], all[i+1:]...)
			dead.kill()
			if random.IntN(2) == 0 { // the next process comes at once, and may get the port
				all = append(all, startHousehold(t, cluster, ups))
			}
			time.Sleep(2 * time.Second)
			for name, up := range ups {
				now := leaderOf(t, all, name)
				if leads[name] == dead[name] {
					require.Equal(t, terms[name]+1, now.Status().Term, "%q, whose leader was killed", name)
				} else {
					require.Equal(t, leads[name], now, "%q, whose leader lives", name)
					require.Equal(t, terms[name], now.Status().Term, "%q, whose leader lives", name)
				}
				require.Equal(t, 1, up.Connections(), "connections to the upstream of %q", name)
			}
			for len(all) < 4 {
				all = append(all, startHousehold(t, cluster, ups))
			}
		}
		for name := range ups { // the port alone leads to each of them
			n, err := cluster.TryStart(name, clusterclient.WithUpstream(ups[name].Open), clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
			require.NoError(t, err)
			require.Equal(t, clusterclient.RoleFollower, n.Role())
			require.Equal(t, leaderOf(t, all, name).Status().Term, n.Status().Term)
		}
	})
}
