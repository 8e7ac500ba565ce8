package clusterclient_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// keepBusy makes so many calls to the method "echo", one after the other, 100 a
// second.
func keepBusy(t *testing.T, c *clustertest.Node, calls int) {
	t.Helper()
	for i := range calls {
		arg := strconv.Itoa(i)
		got, err := clusterclient.Invoke[string, string](t.Context(), c.Client, "echo", arg)
		require.NoError(t, err)
		require.Equal(t, arg, got)
		time.Sleep(10 * time.Millisecond)
	}
}

// lanes returns since when there are the sessions that have a lane.
func lanes(t *testing.T, cluster *clustertest.Cluster) (since []time.Time) {
	t.Helper()
	for _, f := range shown(t, cluster).Leadership.Followers {
		if f.Lane {
			since = append(since, f.Since)
		}
	}
	return since
}

// A follower that asks for much gets a lane, and one that does not has none.
// Whoever uses either notices nothing.
func TestLaneForWhoeverIsBusy(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = echoMethod
		cluster.Start()
		busy, idle := cluster.Start(), cluster.Start()
		up.Set("k", "0")
		watches, rests := mustSubscribe(t, busy, "k"), mustSubscribe(t, idle, "k")
		mustYield(t, watches, "0")
		mustYield(t, rests, "0")
		require.Empty(t, lanes(t, cluster))

		keepBusy(t, busy, 250)
		had := lanes(t, cluster)
		require.Len(t, had, 1)
		up.Set("k", "1")
		mustYield(t, watches, "1")
		mustYield(t, rests, "1")
		keepBusy(t, busy, 250)
		time.Sleep(time.Minute)
		keepBusy(t, busy, 10)
		require.Equal(t, had, lanes(t, cluster), "the session is still the same")
	})
}

// echoMethod registers "echo".
func echoMethod(r *leader.Registry) {
	leader.Handle(r, "echo", func(_ context.Context, arg string) (string, error) { return arg, nil })
}

// A takeover finds followers with lanes like all others, however the leader goes.
func TestLaneEndsWithItsLeader(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *clustertest.Node){
		"killed": func(_ *testing.T, n *clustertest.Node) { n.Kill() },
		"closed": func(t *testing.T, n *clustertest.Node) { require.NoError(t, n.Close()) },
		"resigned": func(t *testing.T, n *clustertest.Node) {
			require.NoError(t, n.Resign(t.Context()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				runs := &counted{runs: make(map[string]int)}
				up.Methods = func(r *leader.Registry) { echoMethod(r); runs.register(r) }
				up.Set("k", "0")
				leads := cluster.Start()
				var followers []*clustertest.Node
				var busy sync.WaitGroup
				for range 3 {
					c := cluster.Start()
					followers = append(followers, c)
					busy.Go(func() { keepBusy(t, c, 250) })
				}
				busy.Wait()
				require.Len(t, lanes(t, cluster), 3)
				start := time.Now()
				end(t, leads)
				for _, c := range followers {
					_, err := clusterclient.Invoke[string, string](t.Context(), c.Client, "again", "x")
					require.NoError(t, err)
					mustYield(t, mustSubscribe(t, c, "k"), "0")
				}
				require.Less(t, time.Since(start), time.Second, "until all were served")
			})
		})
	}
}

// A laneNetwork is that of one process whose connections that come after the
// first are lanes, which do or have what a test wants.
type laneNetwork struct {
	*clustertest.Host
	dialled int
	lane    func(net.Conn) (net.Conn, error)
}

func (n *laneNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := n.Host.Dial(ctx, address)
	if n.dialled++; err != nil || n.dialled == 1 {
		return conn, err
	}
	return n.lane(conn)
}

// Without a lane a session goes on as it is.
func TestNoLaneIsNoLoss(t *testing.T) {
	for name, lane := range map[string]func(net.Conn) (net.Conn, error){
		"refused":     func(conn net.Conn) (net.Conn, error) { return nil, errors.Join(errors.New("no more"), conn.Close()) },
		"cut at once": func(conn net.Conn) (net.Conn, error) { return conn, conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = echoMethod
				cluster.Start()
				network := &laneNetwork{Host: cluster.Network.Host(), lane: lane}
				c := cluster.Start(clusterclient.WithNetwork(network), clusterclient.WithRole(clusterclient.FollowerOnly))
				keepBusy(t, c, 500)
				require.Empty(t, lanes(t, cluster))
				require.GreaterOrEqual(t, network.dialled, 2)
				require.Less(t, network.dialled, 5, "in 5 s")
			})
		})
	}
}

// A lane that breaks, anywhere, is a session that breaks: calls under way have
// an unknown outcome, and all else goes on with the next session.
func TestLaneBreaks(t *testing.T) {
	for seed := range uint64(10) {
		bubble.Test(t, func(t *testing.T) {
			up, runs := clustertest.NewUpstream(), &counted{runs: make(map[string]int)}
			up.Methods = func(r *leader.Registry) { echoMethod(r); runs.register(r) }
			up.Set("k", "0")
			cluster := clustertest.New(t, up)
			cluster.Start()
			pieces := &brokenNetwork{rand: rand.New(rand.NewPCG(seed, 1)), left: 1 << 30}
			network := &laneNetwork{Host: cluster.Network.Host(), lane: func(conn net.Conn) (net.Conn, error) {
				broken := &brokenConn{Conn: conn, n: pieces}
				broken.in.Store(1000 + pieces.rand.Int64N(20_000))
				broken.out.Store(1000 + pieces.rand.Int64N(20_000))
				return broken, nil
			}}
			c := cluster.Start(clusterclient.WithNetwork(network), clusterclient.WithRole(clusterclient.FollowerOnly))
			sub := mustSubscribe(t, c, "k")
			keepBusy(t, c, 150)
			require.Len(t, lanes(t, cluster), 1)
			network.lane = func(conn net.Conn) (net.Conn, error) { return conn, nil }

			unknown := 0
			for i := range 500 {
				up.Set("k", strconv.Itoa(i))
				arg := strconv.Itoa(i)
				switch _, err := clusterclient.Invoke[string, string](t.Context(), c.Client, "once", arg); {
				case errors.Is(err, clusterclient.ErrOutcomeUnknown):
					unknown++
				default:
					require.NoError(t, err)
				}
				require.LessOrEqual(t, runs.runs[arg], 1, "runs of %q", arg)
			}
			require.LessOrEqual(t, unknown, 1)
			require.GreaterOrEqual(t, network.dialled, 3, "the session after the one that broke")
			var newest string
			for newest != "499" {
				newest = string(mustNext(t, sub).Data)
			}
		})
	}
}

// A lane is for a session that there is, of the same user. Whoever brings
// another one goes away.
func TestStrangersBringLanes(t *testing.T) {
	user, other := os.Geteuid(), os.Geteuid()+1
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		c := newRawPeer(t, cluster)
		c.say(t, helloFrame(1))
		session := c.hear(t).GetWelcome().GetSession()
		for _, brings := range []struct {
			uid     int
			session []byte
		}{{user, make([]byte, 16)}, {other, session}} {
			conn, err := cluster.Network.HostOf(brings.uid).Dial(t.Context(), portAddress)
			require.NoError(t, err)
			_, err = conn.Write(append([]byte(lanePreface), brings.session...))
			require.NoError(t, err)
			said, err := io.ReadAll(conn)
			require.NoError(t, err)
			require.Empty(t, said)
		}
		require.Empty(t, lanes(t, cluster))
		conn, err := cluster.Network.Host().Dial(t.Context(), portAddress)
		require.NoError(t, err)
		_, err = conn.Write(append([]byte(lanePreface), session...))
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, lanes(t, cluster), 1, "its own")
		require.NoError(t, conn.Close())
	}, clusterclient.WithPeers(user, other))
}

// lanePreface is what a lane begins with.
const lanePreface = "CLUSTERCLIENT-LANE1\r\n\r\n\n"
