package clusterclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
)

func TestAddressesThatMakeNoSense(t *testing.T) {
	secret, peers := clusterclient.WithSecret(someSecret), clusterclient.WithPeers(1)
	for _, tt := range []struct {
		ip   string
		opts []clusterclient.Option
		want string
	}{
		{"localhost", nil, `"localhost", which is no IP address; a name may stand for several`},
		{"", nil, `"", which is no IP address`},
		{"127.0.0.1:17777", nil, "which is no IP address"},
		{"0.0.0.0", []clusterclient.Option{secret}, "stands for all addresses of the host"},
		{"::", []clusterclient.Option{secret}, "stands for all addresses of the host"},
		{"fe80::1%eth0", []clusterclient.Option{secret}, "cannot be reached there by everybody"},
		{"224.0.0.1", []clusterclient.Option{secret}, "cannot be reached there by everybody"},
		{"10.0.0.5", nil, "10.0.0.5, which others than the processes of this host can reach; give all processes the same WithSecret, or WithTLS"},
		{"::ffff:10.0.0.5", []clusterclient.Option{peers}, "can reach; give all processes the same WithSecret"},
		{"2001:db8::1", nil, "can reach; give all processes the same WithSecret"},
		{"10.0.0.5", []clusterclient.Option{secret, peers}, "rule each other out"},
	} {
		opts := append([]clusterclient.Option{clusterclient.WithAddress(tt.ip), asFollower, clusterclient.WithMaxWait(time.Millisecond)}, tt.opts...)
		_, err := clusterclient.Create("test", 0, opts...)
		require.ErrorIs(t, err, clusterclient.ErrInvalid, tt.ip)
		require.ErrorContains(t, err, tt.want, tt.ip)
		_, err = clusterclient.Inspect(t.Context(), 0, inspect.Query{}, opts...)
		require.ErrorIs(t, err, clusterclient.ErrInvalid, tt.ip)
	}
}

// All of a cluster is at the address: the port, and leaders beside it, to whom
// others are sent.
func TestAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		owner := cluster.Start()
		require.Equal(t, "10.0.0.5:17777", owner.Status().Address)
		beside, err := cluster.TryStart("another")
		require.NoError(t, err)
		follows, err := cluster.TryStart("another", asFollower)
		require.NoError(t, err)
		mustYield(t, mustSubscribe(t, follows, "k"), "v")
		require.Equal(t, "10.0.0.5:17777", follows.Status().Address)
		require.Regexp(t, `^10\.0\.0\.5:4\d+$`, follows.Status().LeaderAddress)

		owner.Kill()
		mustBecome(t, cluster.Start(), clusterclient.RoleLeader)
		require.NoError(t, beside.Close())
		_, err = cluster.TryStart("another")
		require.NoError(t, err)
		mustBecome(t, follows, clusterclient.RoleFollower)
	}, clusterclient.WithAddress("10.0.0.5"), clusterclient.WithSecret(someSecret))
}

// Addresses are compared in one form.
func TestAddressForms(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads := cluster.Start(clusterclient.WithAddress("::ffff:127.0.0.2"))
		require.Equal(t, "127.0.0.2:17777", leads.Status().Address)
		mustBecome(t, cluster.Start(clusterclient.WithAddress("127.0.0.2")), clusterclient.RoleFollower)
		mustBecome(t, cluster.Start(clusterclient.WithAddress("0:0:0:0:0:0:0:1")), clusterclient.RoleLeader)
	})
}
