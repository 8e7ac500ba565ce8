package clusterclient_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

func TestResignAt(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		tool := clusterclient.WithNetwork(cluster.Network.Host())
		_, err := clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, false, tool)
		require.Equal(t, codes.FailedPrecondition, status.Code(err), "nobody else could lead: %v", err)
		require.True(t, clusterclient.FromLeader(err))
		_, err = clusterclient.ResignAt(t.Context(), "other", clustertest.Port, false, tool)
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)

		b := cluster.Start()
		term, err := clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, false, tool)
		require.NoError(t, err)
		require.EqualValues(t, 1, term)
		mustBecome(t, b, clusterclient.RoleLeader)
		mustBecome(t, a, clusterclient.RoleFollower)
		require.Equal(t, "resigned", a.Stats().Terms[0].Reason)
	})
}

// Force does not wait for calls, nor for somebody who could lead. Whoever has led
// alone does again after a while, also at a port that another name's leader owns.
func TestResignAtByForce(t *testing.T) {
	for name, owners := range map[string][]string{"owns the port": nil, "beside the owner": {"other"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				for _, owner := range owners {
					_, err := cluster.TryStart(owner)
					require.NoError(t, err)
				}
				a := cluster.Start()
				tool := clusterclient.WithNetwork(cluster.Network.Host())
				_, err := clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, true, tool)
				require.NoError(t, err)
				synctest.Wait()
				require.Contains(t, a.Stats().Terms[0].Reason, "deposed")
				mustBecome(t, a, clusterclient.RoleLeader)
			})
		})
	}
}
