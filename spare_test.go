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
