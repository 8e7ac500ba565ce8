package clusterclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
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
			require.ErrorContains(t, err, "127.0.0.1:17777: the other end refuses: uid 12345 is not uid ")
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

// A rawPeer speaks to a leader without this library.
type rawPeer struct {
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]
}

func newRawPeer(t *testing.T, cluster *clustertest.Cluster) *rawPeer {
	t.Helper()
	host := cluster.Network.Host()
	conn, err := grpc.NewClient("passthrough:///leader", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return host.Dial(ctx, "127.0.0.1:17777")
		}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	stream, err := clusterclientv1.NewClusterClientServiceClient(conn).Session(t.Context())
	require.NoError(t, err)
	return &rawPeer{conn, stream}
}

func (p *rawPeer) say(t *testing.T, frames ...*clusterclientv1.RequestFrame) {
	t.Helper()
	require.NoError(t, p.stream.Send(&clusterclientv1.SessionRequest{Frames: frames}))
}

// hear returns the next frames of the leader that are no heartbeats.
func (p *rawPeer) hear(t *testing.T) *clusterclientv1.ResponseFrame {
	t.Helper()
	for {
		m, err := p.stream.Recv()
		require.NoError(t, err)
		for _, f := range m.GetFrames() {
			if f.GetHeartbeat() == nil {
				return f
			}
		}
	}
}

func helloFrame(pid int64) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Hello{Hello: &clusterclientv1.Hello{
		Protocol: 1, Name: clustertest.Name, Peer: &clusterclientv1.Peer{Instance: []byte("0123456789abcdef"), Pid: pid},
	}}}
}

// Who calls is what the system says, not what the caller says; and a stream
// cannot pass for one of somebody else's session, even if that is known.
func TestCallerCannotBeForged(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		callers := make(chan leader.Peer, 1)
		note := func(ctx context.Context) {
			p, _ := leader.CallerFrom(ctx)
			callers <- p
		}
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "whoami", func(ctx context.Context, _ []byte) ([]byte, error) {
				note(ctx)
				return nil, nil
			})
			r.RegisterService(&grpc.ServiceDesc{ServiceName: "s", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
				StreamName: "stream", ServerStreams: true,
				Handler: func(_ any, stream grpc.ServerStream) error {
					note(stream.Context())
					return nil
				},
			}}}, struct{}{})
		}
		cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, helloFrame(1))
		session := p.hear(t).GetWelcome().GetSession()
		require.NotEmpty(t, session)
		p.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{Id: 1, Method: "whoami", Codec: "bytes"}}})
		caller := <-callers
		require.Equal(t, os.Getpid(), caller.PID, "the process that called said it was 1")
		require.Equal(t, os.Geteuid(), caller.UID)

		desc := &grpc.StreamDesc{ServerStreams: true}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "clusterclient-session-bin", string(session))
		stream, err := p.conn.NewStream(ctx, desc, "/s/stream")
		require.NoError(t, err)
		require.ErrorIs(t, stream.RecvMsg(&clusterclientv1.Peer{}), io.EOF)
		require.Equal(t, os.Getpid(), (<-callers).PID)

		other := newRawPeer(t, cluster)
		other.say(t, helloFrame(2))
		other.hear(t)
		stream, err = other.conn.NewStream(ctx, desc, "/s/stream")
		require.NoError(t, err)
		require.Equal(t, codes.Unauthenticated, status.Code(stream.RecvMsg(&clusterclientv1.Peer{})))

		for _, method := range []string{
			"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
			"/grpc.health.v1.Health/Watch", "/grpc.channelz.v1.Channelz/GetServers", "/s/unknown",
		} {
			stream, err = p.conn.NewStream(ctx, desc, method)
			require.NoError(t, err)
			require.Equal(t, codes.Unimplemented, status.Code(stream.RecvMsg(&clusterclientv1.Peer{})), method)
		}
	})
}

func TestConnectionsThatSayNothing(t *testing.T) {
	limits := clusterclient.WithLimits(clusterclient.Limits{Handshake: 2 * time.Second, Unauthenticated: 10})
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "v")
		leads := cluster.Start()
		host := cluster.Network.Host()
		ended := make(chan int, 100)
		connect := func(i int, say string) {
			conn, err := host.Dial(t.Context(), "127.0.0.1:17777")
			require.NoError(t, err)
			_, _ = conn.Write([]byte(say))
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				ended <- i
			}()
			synctest.Wait()
		}
		preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
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
					conn, err := cluster.Network.Host().Dial(t.Context(), "127.0.0.1:17777")
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
		time.Sleep(4 * time.Second)
		require.Equal(t, connectivity.Ready, p.conn.GetState())
		time.Sleep(2 * time.Second)
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
