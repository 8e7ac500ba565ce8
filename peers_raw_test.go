package clusterclient_test

import (
	"context"
	"io"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

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
