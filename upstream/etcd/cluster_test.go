package etcd_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// TestCluster uses etcd as an application does.
func TestCluster(t *testing.T) {
	s := newServer(t)
	c, err := clusterclient.Create("etcd", 0, clusterclient.WithSingleProcess(),
		clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) {
			return etcd.New(s.client(), etcd.WithPrefix("/app/"), etcd.WithOwnedClient()), nil
		}))
	require.NoError(t, err)
	defer c.Close()

	require.NoError(t, c.Publish(t.Context(), "key", []byte("value")))
	got, err := clusterclient.Invoke[etcd.GetRequest, etcd.GetResponse](t.Context(), c, etcd.MethodGet, etcd.GetRequest{Key: "key"})
	require.NoError(t, err)
	require.True(t, got.Found)
	require.Equal(t, "value", string(got.Data))

	listed, err := clusterclient.Invoke[etcd.ListRequest, etcd.ListResponse](t.Context(), c, etcd.MethodList, etcd.ListRequest{})
	require.NoError(t, err)
	require.Equal(t, []etcd.Entry{{Key: "key", Data: []byte("value"), Version: got.Version}}, listed.Entries)
}
