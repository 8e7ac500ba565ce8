package clusterclient_test

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// lateNetwork is that of a process which connects and is kept from saying
// anything, while so many others come.
type lateNetwork struct {
	*clustertest.Host
	others int
}

func (n *lateNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := n.Host.Dial(ctx, address)
	time.Sleep(time.Millisecond) // until it is at the acceptor
	for range n.others {
		if _, err := n.Host.Dial(ctx, address); err != nil {
			return nil, err
		}
	}
	return mute{c}, err
}

type mute struct{ net.Conn }

func (mute) Write(p []byte) (int, error) { return len(p), nil }

// A member that is shown out before it has said hello is told which limit that
// was, waits on, and gets in when it can.
func TestMembersThatAreCrowdedOut(t *testing.T) {
	for _, name := range []string{"the user", "a secret", "TLS"} {
		for want, others := range map[string]int{
			"has not said hello, and more than the 10 of Limits.Unauthenticated are about to": 10,
			"has not said hello within the 2s of Limits.Handshake":                            1,
		} {
			t.Run(name+" "+want, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					var opts []clusterclient.Option
					switch name {
					case "a secret":
						opts = append(opts, clusterclient.WithSecret(someSecret))
					case "TLS":
						ours := processtest.NewAuthority(t)
						opts = append(opts, clusterclient.WithTLS(ours.Config(ours, "cluster")))
					}
					up.Set("k", "v")
					cluster.Start(opts...)
					late := clusterclient.WithNetwork(&lateNetwork{cluster.Network.Host(), others})
					_, err := cluster.TryStart(clustertest.Name, append(opts, late, asFollower, clusterclient.WithMaxWait(10*time.Second))...)
					require.ErrorIs(t, err, clusterclient.ErrLimit)
					require.ErrorIs(t, err, context.DeadlineExceeded, "it waits, for it may get in")
					require.ErrorContains(t, err, want)
					_, err = clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, append(opts, late)...)
					require.ErrorIs(t, err, clusterclient.ErrLimit)
					mustYield(t, mustSubscribe(t, cluster.Start(opts...), "k"), "v")
				}, clusterclient.WithLimits(clusterclient.Limits{Handshake: 2 * time.Second, Unauthenticated: 10}))
			})
		}
	}
}

// A client listens for longer than a leader with the same limits lets it take to
// say hello, so that it hears why it has to go.
func TestMembersThatAreLate(t *testing.T) {
	for want, limit := range map[string]time.Duration{"within the 3s of": 0, "within the 10s of": 10 * time.Second} {
		for _, name := range []string{"the user", "TLS"} {
			t.Run(name+" "+want, func(t *testing.T) {
				limits := clusterclient.WithLimits(clusterclient.Limits{Handshake: limit})
				inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
					opts := []clusterclient.Option{limits}
					if name == "TLS" {
						ours := processtest.NewAuthority(t)
						opts = append(opts, clusterclient.WithTLS(ours.Config(ours, "cluster")))
					}
					cluster.Start(opts...)
					late := clusterclient.WithNetwork(&lateNetwork{cluster.Network.Host(), 0})
					_, err := cluster.TryStart(clustertest.Name, append(opts, late, asFollower)...)
					require.ErrorIs(t, err, clusterclient.ErrLimit)
					require.ErrorContains(t, err, want+" Limits.Handshake")
					_, err = clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, append(opts, late)...)
					require.ErrorIs(t, err, clusterclient.ErrLimit)
				})
			})
		}
	}
}

// Whoever has been let in is not crowded out by those who have not.
func TestStrangersCrowdOutNoMember(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		p := newRawPeer(t, cluster)
		synctest.Wait() // it is let in, and has not said hello
		var ends []net.Conn
		for range 50 {
			conn, err := cluster.Network.Host().Dial(t.Context(), portAddress)
			require.NoError(t, err)
			ends = append(ends, conn)
		}
		synctest.Wait()
		p.say(t, helloFrame(1))
		require.NotNil(t, p.hear(t).GetWelcome())
		told := 0
		for _, conn := range ends {
			require.NoError(t, conn.SetReadDeadline(time.Now()))
			said, _ := io.ReadAll(conn)
			if len(said) > 0 {
				require.Contains(t, string(said), "Limits.Unauthenticated")
				told++
			}
		}
		require.Equal(t, 50-9, told, "the others")
	}, clusterclient.WithLimits(clusterclient.Limits{Unauthenticated: 10}))
}
