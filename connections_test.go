package clusterclient_test

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/connectivity"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

func TestConnectionsThatSayNothing(t *testing.T) {
	limits := clusterclient.WithLimits(clusterclient.Limits{Handshake: 2 * time.Second, Unauthenticated: 10})
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		leads := cluster.Start()
		host := cluster.Network.Host()
		ended := make(chan int, 100)
		connect := func(i int, say string) {
			conn, err := host.Dial(t.Context(), portAddress)
			require.NoError(t, err)
			_, _ = conn.Write([]byte(say))
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				ended <- i
			}()
			synctest.Wait()
		}
		const preface = http2Preface + emptySettings
		for i := range 10 {
			connect(i, []string{"", "PRI *", preface}[i%3])
		}
		require.Empty(t, ended, "connections that were closed")
		follows := cluster.Start()
		require.Equal(t, 0, <-ended, "the first has to go")
		mustYield(t, mustSubscribe(t, follows, "k"), "v")
		connect(10, "") // in the place of the follower, who is inside
		synctest.Wait()
		require.Empty(t, ended)
		connect(11, preface)
		require.Equal(t, 1, <-ended)

		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Len(t, ended, 10, "connections that have not said hello in time")
		require.EqualValues(t, 12, leads.Status().Refused)
		require.Equal(t, clusterclient.RoleFollower, follows.Role())
	}, limits)
}

// What a client of HTTP/2 begins with, and the frame that follows.
const (
	http2Preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	emptySettings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
)

// A leader that leaves does not wait for those whom it has not let in, however far
// they have come, nor for those who may come in and do not: more of them than may shake hands at once.
func TestStrangersKeepNobodyFromLeaving(t *testing.T) {
	for name, say := range map[string]string{
		"silence": "", "half a preface": "PRI *", "a proof": "CLUSTERCLIENT-PROOF1\r\n\r\n", "half a TLS hello": "\x16\x03\x01\x02\x00",
		"a preface": http2Preface, "half of what follows it": http2Preface + emptySettings[:5],
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Set("k", "v")
				var opts []clusterclient.Option
				if name == "half a TLS hello" {
					ours := processtest.NewAuthority(t)
					opts = append(opts, clusterclient.WithTLS(ours.Config(ours, "cluster")))
				}
				leads, follows := cluster.Start(opts...), cluster.Start(opts...)
				mustYield(t, mustSubscribe(t, follows, "k"), "v")
				var ends []net.Conn
				for range 20 {
					conn, err := cluster.Network.Host().Dial(t.Context(), portAddress)
					require.NoError(t, err)
					_, err = conn.Write([]byte(say))
					require.NoError(t, err)
					ends = append(ends, conn)
				}
				synctest.Wait()
				start := time.Now()
				require.NoError(t, leads.Close())
				require.Less(t, time.Since(start), time.Second, "fake time")
				for _, conn := range ends {
					_, err := io.Copy(io.Discard, conn)
					require.NoError(t, err, "it is told by the end")
				}
				require.Zero(t, leads.Status().Refused, "they were not")
			})
		})
	}
}

// A connection whose last session has ended is not kept.
func TestConnectionsThatAreLeftOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, helloFrame(1))
		p.hear(t)
		time.Sleep(time.Hour)
		require.Equal(t, connectivity.Ready, p.conn.GetState())
		require.NoError(t, p.stream.CloseSend())
		for {
			if _, err := p.stream.Recv(); err != nil {
				break
			}
		}
		time.Sleep(2900 * time.Millisecond)
		require.Equal(t, connectivity.Ready, p.conn.GetState())
		time.Sleep(200 * time.Millisecond)
		require.NotEqual(t, connectivity.Ready, p.conn.GetState())
	})
}

func TestSessionsOfOneProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		cluster.Start()
		first := cluster.Start(asFollower)
		_, err := cluster.TryStart(clustertest.Name, asFollower, clusterclient.WithMaxWait(time.Hour))
		require.NoError(t, err)
		_, err = cluster.TryStart(clustertest.Name, asFollower, clusterclient.WithMaxWait(time.Hour))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		require.ErrorContains(t, err, "has 2 sessions already")
		require.NoError(t, first.Close())
		synctest.Wait()
		mustYield(t, mustSubscribe(t, cluster.Start(asFollower), "k"), "v")
	}, clusterclient.WithLimits(clusterclient.Limits{Sessions: 2}))
}
