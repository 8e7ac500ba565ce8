package clusterclient_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A waywardKey signs nothing.
type waywardKey struct {
	crypto.Signer
	do func()
}

func (k waywardKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	k.do()
	return nil, errors.New("no")
}

// tlsCode is the program's code that a handshake runs, by what it is set in.
var tlsCode = map[string]func(c *tls.Config, do func()){
	"GetCertificate": func(c *tls.Config, do func()) {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { do(); return nil, nil }
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { do(); return nil, nil }
		c.Certificates = nil
	},
	"GetConfigForClient": func(c *tls.Config, do func()) {
		c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { do(); return nil, nil }
	},
	"VerifyPeerCertificate": func(c *tls.Config, do func()) {
		c.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { do(); return nil }
	},
	"VerifyConnection": func(c *tls.Config, do func()) {
		c.VerifyConnection = func(tls.ConnectionState) error { do(); return nil }
	},
	"Time": func(c *tls.Config, do func()) { c.Time = func() time.Time { do(); return time.Now() } },
	"a key of its own": func(c *tls.Config, do func()) {
		c.Certificates[0].PrivateKey = waywardKey{c.Certificates[0].PrivateKey.(crypto.Signer), do}
	},
}

// untold are those that package tls does not take an error of and tell the other
// end. That sees the connection end.
var untold = map[string]bool{"Time": true, "a key of its own": true}

// TestTLSCodeOfTheLeader does not return in a handshake. Whoever connects is
// refused and told so, and everybody else is served.
func TestTLSCodeOfTheLeader(t *testing.T) {
	for where, set := range tlsCode {
		for what, do := range misbehaviours {
			t.Run(where+" "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					ours := processtest.NewAuthority(t)
					up.Set("k", "v")
					config, wayward := ours.Config(ours, "cluster"), true
					set(config, func() {
						if wayward {
							do()
						}
					})
					leads, log := startLogging(cluster, clusterclient.WithTLS(config))
					good := clusterclient.WithTLS(ours.Config(ours, "cluster"))
					_, err := cluster.TryStart(clustertest.Name, good, asFollower, clusterclient.WithMaxWait(time.Minute))
					if require.Error(t, err); !untold[where] {
						require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
						require.ErrorContains(t, err, "refuses: remote error: tls: ")
					}
					synctest.Wait()
					require.NotEmpty(t, log.with("peer refused", "of WithTLS"))
					mustYield(t, mustSubscribe(t, leads, "k"), "v")
					if where == "GetCertificate" || where == "a key of its own" { // it has none
						return
					}
					wayward = false
					mustYield(t, mustSubscribe(t, cluster.Start(good, asFollower), "k"), "v")
				})
			})
		}
	}
}

// TestTLSCodeOfAFollower does not return in a handshake: it says so.
func TestTLSCodeOfAFollower(t *testing.T) {
	for where, set := range tlsCode {
		if where == "GetConfigForClient" {
			continue
		}
		for what, do := range misbehaviours {
			t.Run(where+" "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					ours := processtest.NewAuthority(t)
					config := ours.Config(ours, "cluster")
					set(config, do)
					good := clusterclient.WithTLS(ours.Config(ours, "cluster"))
					cluster.Start(good)
					_, err := cluster.TryStart(clustertest.Name, clusterclient.WithTLS(config), asFollower, clusterclient.WithMaxWait(time.Minute))
					require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
					require.ErrorContains(t, err, "of WithTLS")
					cluster.Start(good)
				})
			})
		}
	}
}

// TestTLSConfigForClient gives a configuration that asks nobody for a certificate.
func TestTLSConfigForClient(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ours, theirs := processtest.NewAuthority(t), processtest.NewAuthority(t)
		up.Set("k", "v")
		config := ours.Config(ours, "cluster")
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: config.Certificates}, nil
		}
		cluster.Start(clusterclient.WithTLS(config))
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithTLS(ours.Config(theirs, "cluster")), asFollower, clusterclient.WithMaxWait(time.Minute))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		mustYield(t, mustSubscribe(t, cluster.Start(clusterclient.WithTLS(ours.Config(ours, "cluster")), asFollower), "k"), "v")
	})
}
