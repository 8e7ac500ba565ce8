package clusterclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

const stranger = 12345

var (
	asFollower = clusterclient.WithRole(clusterclient.FollowerOnly)
	someSecret = []byte("correct horse battery staple")
)

// logged is an option that logs warnings and worse to the buffer.
func logged(to io.Writer) clusterclient.Option {
	return clusterclient.WithLogger(hclog.New(&hclog.LoggerOptions{Output: to, Level: hclog.Warn}))
}

func TestAnotherUserCannotJoin(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var log bytes.Buffer
		up.Set("k", "v")
		leads := cluster.Start(logged(&log))
		own := os.Geteuid()
		for range 5 {
			_, err := cluster.TryStartAs(stranger, clustertest.Name, clusterclient.WithPeers(own), asFollower)
			require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
			require.ErrorContains(t, err, fmt.Sprintf("127.0.0.1:17777: pid %d of uid %d refuses: uid 12345 is not uid ", os.Getpid(), own))
			require.ErrorContains(t, err, "WithPeers(")
			require.ErrorContains(t, err, "WithSecret")
			require.NotContains(t, err.Error(), "\n")
		}
		require.EqualValues(t, 5, leads.Status().Refused)
		require.Equal(t, 1, strings.Count(log.String(), "peer refused"), log.String())

		time.Sleep(time.Minute)
		_, err := cluster.TryStartAs(stranger, clustertest.Name, clusterclient.WithPeers(own))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.Equal(t, 2, strings.Count(log.String(), "peer refused"), log.String())
		require.Contains(t, log.String(), "uid=12345")
		require.Contains(t, log.String(), "times=5")
		mustYield(t, mustSubscribe(t, cluster.Start(), "k"), "v")
	})
}

// However many come, what is kept and logged of them has an end.
func TestRefusalsOfMany(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		const peers, toldApart = 150, 64
		var log bytes.Buffer
		leads := cluster.Start(logged(&log))
		for range 2 {
			for i := range peers {
				_, err := cluster.TryStartAs(stranger+i, clustertest.Name, clusterclient.WithPeers(os.Geteuid()), asFollower)
				require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
			}
		}
		require.EqualValues(t, 2*peers, leads.Status().Refused)
		require.Equal(t, toldApart+1, strings.Count(log.String(), "peer refused"), "lines")

		time.Sleep(time.Minute)
		_, err := cluster.TryStartAs(stranger+peers, clustertest.Name, clusterclient.WithPeers(os.Geteuid()), asFollower)
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.Contains(t, log.String(), fmt.Sprint("uid=", stranger+peers), "one that came when the others were gone")
	})
}

// Whoever holds the port is told nothing before it is known whose process it
// is, and one of another user is never believed.
func TestAnotherUserIsNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads, err := cluster.TryStartAs(stranger, clustertest.Name)
		require.NoError(t, err)
		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithMaxWait(time.Hour))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "127.0.0.1:17777: uid 12345 is not uid ")
		require.NoError(t, leads.Close())

		squats, err := cluster.Network.HostOf(stranger).Listen(t.Context(), "127.0.0.1:17777")
		require.NoError(t, err)
		heard := make(chan string)
		go func() {
			conn, err := squats.Accept()
			if err != nil {
				return
			}
			got, _ := io.ReadAll(conn)
			heard <- string(got)
		}()
		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithMaxWait(time.Hour))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.Empty(t, <-heard)
		require.NoError(t, squats.Close())
	})
}

// A client that runs already waits for whoever has taken the port to leave.
func TestSquatterAfterATakeover(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		leads := cluster.Start()
		follows := cluster.Start(asFollower)
		sub := mustSubscribe(t, follows, "k")
		mustYield(t, sub, "v")
		leads.Kill()
		squats, err := cluster.TryStartAs(stranger, clustertest.Name)
		require.NoError(t, err)
		time.Sleep(longEnough)
		require.Contains(t, follows.Status().Waiting, "uid 12345 is not uid")
		v, _ := sub.Value()
		require.True(t, v.Stale)
		require.NoError(t, squats.Close())

		up.Set("k", "w")
		cluster.Start()
		mustYield(t, sub, "w")
	})
}

func TestUsersThatAreNamed(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		callers := make(chan leader.Peer, 1)
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "whoami", func(ctx context.Context, _ string) (string, error) {
				p, _ := leader.CallerFrom(ctx)
				callers <- p
				return "", nil
			})
		}
		up.Set("k", "v")
		cluster.Start()
		n, err := cluster.TryStartAs(stranger, clustertest.Name)
		require.NoError(t, err)
		mustYield(t, mustSubscribe(t, n, "k"), "v")
		_, err = clusterclient.Invoke[string, string](t.Context(), n.Client, "whoami", "")
		require.NoError(t, err)
		require.Equal(t, stranger, (<-callers).UID)
	}, clusterclient.WithPeers(os.Geteuid(), stranger))
}

func TestSecret(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var log bytes.Buffer
		up.Set("k", "v")
		leads := cluster.Start(clusterclient.WithSecret(someSecret), logged(&log))
		for _, uid := range []int{os.Geteuid(), stranger} {
			n, err := cluster.TryStartAs(uid, clustertest.Name, clusterclient.WithSecret(someSecret), asFollower)
			require.NoError(t, err)
			mustYield(t, mustSubscribe(t, n, "k"), "v")

			for name, opt := range map[string]clusterclient.Option{
				"does not prove that it knows":                        clusterclient.WithPeers(os.Geteuid()),
				"does not know the secret of WithSecret":              clusterclient.WithSecret([]byte("incorrect horse battery staple")),
				"uid 12345 is not uid " /* but only for that user */ : clusterclient.WithPeers(777),
			} {
				_, err = cluster.TryStartAs(uid, clustertest.Name, opt, asFollower, clusterclient.WithMaxWait(time.Hour))
				require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
				if !strings.HasPrefix(name, "uid") {
					require.ErrorContains(t, err, name)
				}
				require.NotContains(t, err.Error(), "horse")
			}
		}
		require.NotZero(t, leads.Status().Refused)
		require.NotContains(t, log.String(), "horse")
	})
}

// A leader without the secret is not believed, and learns nothing that helps.
func TestSecretOfTheLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithSecret(someSecret), clusterclient.WithMaxWait(time.Hour))
		require.ErrorIs(t, err, clusterclient.ErrPeerRefused)
		require.ErrorContains(t, err, "uses WithSecret, and the leader does not; give all processes the same WithSecret")
	})
}
