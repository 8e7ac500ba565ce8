package clusterclient_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

func TestTakeoverInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Set("k", "one")
		cluster := clustertest.New(t, up)
		a, b := cluster.Start(), cluster.Start()
		sub, err := b.Subscribe(t.Context(), "k")
		require.NoError(t, err)
		v, err := sub.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "one", string(v.Data))
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		a.Kill()
		synctest.Wait()
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
		up.Set("k", "two")
		v, err = sub.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "two", string(v.Data))
	})
}
