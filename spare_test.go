package clusterclient_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A follower makes ready for its next leader. However long it has followed, not
// at all or for long, that one serves it at once.
func TestNextLeaderServesAtOnce(t *testing.T) {
	for _, followed := range []time.Duration{0, 50 * time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute} {
		t.Run(fmt.Sprint(followed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Set("k", "one")
				first := cluster.Start()
				second := cluster.Start()
				last := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				sub := mustSubscribe(t, last, "k")
				mustYield(t, sub, "one")
				for _, leader := range []*clustertest.Node{first, second} {
					time.Sleep(followed)
					term := last.Status().Term
					if leader == second { // somebody has to be left
						cluster.Start()
					}
					leader.Kill()
					time.Sleep(100 * time.Millisecond)
					v := mustBeFresh(t, sub)
					require.Greater(t, v.Revision.Term, term)
				}
			})
		})
	}
}

// TestNextLeaderIsGoneToo has a process come to itself when the leader that it
// had was replaced, and whoever replaced it is gone as well.
func TestNextLeaderIsGoneToo(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		first, away := cluster.Start(), cluster.Start()
		next := cluster.Start()
		time.Sleep(time.Second)
		away.Freeze()
		first.Kill()
		mustBecome(t, next, clusterclient.RoleLeader)
		next.Kill()
		away.Thaw()
		began := time.Now()
		mustBecome(t, away, clusterclient.RoleLeader)
		require.Less(t, time.Since(began), 100*time.Millisecond)
		require.EqualValues(t, 3, away.Status().Term)
	})
}

// TestLeaderBesideAPortThatHangsServesAtOnce has followers give up a leader that
// hangs, and has the port. They do not ask there for the next one.
func TestLeaderBesideAPortThatHangsServesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		hangs := cluster.Start()
		next := cluster.Start()
		last := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		time.Sleep(time.Second)
		served := make(chan time.Duration, 1)
		go func() { // how long there was no leader
			var lost time.Time
			for st := range last.StatusChanges(t.Context()) {
				switch {
				case st.Role == clusterclient.RoleNone && lost.IsZero():
					lost = time.Now()
				case st.Term == 2 && lost.IsZero(): // so short that it was not seen
					served <- 0
					return
				case st.Term == 2:
					served <- time.Since(lost)
					return
				}
			}
		}()
		hangs.Freeze()
		mustBecome(t, next, clusterclient.RoleLeader)
		require.Zero(t, <-served)
	})
}
