package clusterclient_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

func TestTLS(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours, theirs := processtest.NewAuthority(t), processtest.NewAuthority(t)
		up.Set("k", "v")
		leads := cluster.Start(clusterclient.WithTLS(ours.Config(ours, "cluster")))
		n, err := cluster.TryStartAs(stranger, clustertest.Name, clusterclient.WithTLS(ours.Config(ours, "cluster")))
		require.NoError(t, err)
		mustYield(t, mustSubscribe(t, n, "k"), "v")

		for name, tt := range map[string]struct {
			opt  clusterclient.Option
			want string
		}{
			"of another authority":    {clusterclient.WithTLS(ours.Config(theirs, "cluster")), "refuses: remote error: tls: unknown certificate authority; see the certificates of WithTLS"},
			"believes another":        {clusterclient.WithTLS(theirs.Config(ours, "cluster")), "is not believed: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
			"no TLS":                  {clusterclient.WithPeers(), "does not use TLS, and the leader does; give all processes WithTLS"},
			"a secret instead of TLS": {clusterclient.WithSecret(someSecret), "uses WithSecret, and the leader does not"},
		} {
			_, err := cluster.TryStart(clustertest.Name, tt.opt, asFollower, clusterclient.WithMaxWait(time.Minute))
			require.ErrorIs(t, err, clusterclient.ErrPeerRefused, name)
			require.ErrorContains(t, err, tt.want, name)
		}
		require.NoError(t, n.Close())
		require.NoError(t, leads.Close())

		cluster.Start()
		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithTLS(ours.Config(ours, "cluster")), clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "uses TLS, and the leader does not")
	})
}

// Both must hold, and a leader that holds the wrong name is not believed.
func TestTLSWithSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours := processtest.NewAuthority(t)
		up.Set("k", "v")
		secret, tlsOpt := clusterclient.WithSecret(someSecret), clusterclient.WithTLS(ours.Config(ours, "cluster"))
		leads := cluster.Start(secret, tlsOpt)
		mustYield(t, mustSubscribe(t, cluster.Start(secret, tlsOpt, asFollower), "k"), "v")
		for _, one := range []clusterclient.Option{secret, tlsOpt} {
			_, err := cluster.TryStart(clustertest.Name, one, asFollower, clusterclient.WithMaxWait(time.Minute))
			require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		}
		require.NoError(t, leads.Close())
		cluster.Start(clusterclient.WithTLS(ours.Config(ours, "another")))
		_, err := cluster.TryStart(clustertest.Name, tlsOpt, clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "certificate is valid for another, not cluster")
	})
}

// A chain of certificates that the leader would not read to its end is found at
// Create, where the limits are the same; else the leader refuses it.
func TestCertificatesThatAreTooLong(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours := processtest.NewAuthority(t)
		up.Set("k", "v")
		config := ours.Config(ours, "cluster")
		chain := &config.Certificates[0].Certificate
		for size := 0; size < 20_000; size += len((*chain)[0]) {
			*chain = append(*chain, (*chain)[0]) // which nobody needs
		}
		long, short := clusterclient.WithTLS(config), clusterclient.WithTLS(ours.Config(ours, "cluster"))
		raised := clusterclient.WithLimits(clusterclient.Limits{TLSHandshake: 32 << 10})
		_, err := cluster.TryStart(clustertest.Name, long)
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.ErrorContains(t, err, "do not fit in the 12288 bytes of Limits.TLSHandshake")

		leads, log := startLogging(cluster, short)
		_, err = cluster.TryStart(clustertest.Name, long, raised, asFollower, clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "refuses: remote error: tls: record overflow; see the certificates of WithTLS")
		synctest.Wait() // the other end is told first
		require.Len(t, log.with("peer refused", "raise Limits.TLSHandshake in all processes"), 1)
		require.NoError(t, leads.Close())

		cluster.Start(short, raised)
		mustYield(t, mustSubscribe(t, cluster.Start(long, raised, asFollower), "k"), "v")
	})
}
