package clusterclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// An authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign("authority", nil)
	return a
}

func (a *authority) sign(name string, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: by == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	require.NoError(a.t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(a.t, err)
	return cert, key
}

// config is that of a process which believes a and shows a certificate of
// signer's.
func (a *authority) config(signer *authority, name string) *tls.Config {
	cert, key := a.sign(name, signer)
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}},
		RootCAs:      roots, ServerName: "cluster",
	}
}

func TestTLS(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours, theirs := newAuthority(t), newAuthority(t)
		up.Set("k", "v")
		leads := cluster.Start(clusterclient.WithTLS(ours.config(ours, "cluster")))
		n, err := cluster.TryStartAs(stranger, clustertest.Name, clusterclient.WithTLS(ours.config(ours, "cluster")))
		require.NoError(t, err)
		mustYield(t, mustSubscribe(t, n, "k"), "v")

		for name, tt := range map[string]struct {
			opt  clusterclient.Option
			want string
		}{
			"of another authority":    {clusterclient.WithTLS(ours.config(theirs, "cluster")), "refuses: remote error: tls: unknown certificate authority; see the certificates of WithTLS"},
			"believes another":        {clusterclient.WithTLS(theirs.config(ours, "cluster")), "is not believed: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
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
		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithTLS(ours.config(ours, "cluster")), clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "uses TLS, and the leader does not")
	})
}

// Both must hold, and a leader that holds the wrong name is not believed.
func TestTLSWithSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours := newAuthority(t)
		up.Set("k", "v")
		secret, tlsOpt := clusterclient.WithSecret(someSecret), clusterclient.WithTLS(ours.config(ours, "cluster"))
		leads := cluster.Start(secret, tlsOpt)
		mustYield(t, mustSubscribe(t, cluster.Start(secret, tlsOpt, asFollower), "k"), "v")
		for _, one := range []clusterclient.Option{secret, tlsOpt} {
			_, err := cluster.TryStart(clustertest.Name, one, asFollower, clusterclient.WithMaxWait(time.Minute))
			require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		}
		require.NoError(t, leads.Close())
		cluster.Start(clusterclient.WithTLS(ours.config(ours, "another")))
		_, err := cluster.TryStart(clustertest.Name, tlsOpt, clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "certificate is valid for another, not cluster")
	})
}
