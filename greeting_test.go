package clusterclient_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// another opens one more stream on the connection.
func (p *rawPeer) another(t *testing.T) *rawPeer {
	t.Helper()
	stream, err := clusterclientv1.NewClusterClientServiceClient(p.conn).Session(t.Context())
	require.NoError(t, err)
	return &rawPeer{p.conn, stream}
}

// shown returns what a tool sees of the cluster's own name.
func shown(t *testing.T, cluster *clustertest.Cluster) inspect.Name {
	t.Helper()
	found, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Query{}, clusterclient.WithNetwork(cluster.Network.Host()))
	require.NoError(t, err)
	for _, n := range found.Names {
		if n.Name == clustertest.Name {
			return n
		}
	}
	require.Fail(t, "the name is not there")
	return inspect.Name{}
}

// Few streams of a connection may be about to say hello, so that one that says
// nothing makes the leader hold as little as one without any stream.
func TestStreamsThatSayNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		first := newRawPeer(t, cluster)
		synctest.Wait() // it has come
		refused := make(chan error, 100)
		for range cap(refused) {
			p := first.another(t)
			go func() {
				_, err := p.stream.Recv()
				refused <- err
			}()
		}
		synctest.Wait()
		for range 100 + 1 - 16 {
			err := <-refused
			require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
		}
		require.Empty(t, refused, "those that may wait")
		first.say(t, helloFrame(1))
		require.NotNil(t, first.hear(t).GetWelcome())
		p := first.another(t)
		p.say(t, helloFrame(1))
		require.NotNil(t, p.hear(t).GetWelcome(), "there is a place again")
	})
}

// Much is not read of somebody who says no hello, and any amount of somebody
// who has said it.
func TestMuchBeforeHello(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		large := helloFrame(1)
		large.GetHello().Identity = make([]byte, 3<<20)
		p := newRawPeer(t, cluster)
		_ = p.stream.Send(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{large}})
		_, err := p.stream.Recv()
		require.Equal(t, codes.Unavailable, status.Code(err), "the connection has ended: %v", err)

		p = newRawPeer(t, cluster)
		p.say(t, helloFrame(1))
		require.NotNil(t, p.hear(t).GetWelcome())
		p.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Publish{
			Publish: &clusterclientv1.Publish{Id: 1, Key: "k", Data: make([]byte, 3<<20)},
		}})
		require.EqualValues(t, 1, p.hear(t).GetReply().GetId())
		data, _ := up.Value("k")
		require.Len(t, data, 3<<20)
	})
}

// Nothing is kept of a hello, or a report, that is too large.
func TestReportThatIsTooLarge(t *testing.T) {
	report := func(address string) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Report{Report: &clusterclientv1.Report{Term: 5, Address: address}}}
	}
	other := helloFrame(1)
	other.GetHello().Name = "other"
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, other, report(strings.Repeat("a", 65<<10)))
		require.Equal(t, clusterclientv1.Code_CODE_LIMIT, p.hear(t).GetReject().GetCode())
		p, f := newRawPeer(t, cluster), helloFrame(1)
		f.GetHello().Peer.Address = strings.Repeat("a", 65<<10)
		p.say(t, f)
		require.Equal(t, clusterclientv1.Code_CODE_LIMIT, p.hear(t).GetReject().GetCode())
		for _, r := range shown(t, cluster).Leadership.Rejected {
			require.Zero(t, len(r.Last.Address), r.Code)
		}

		p = newRawPeer(t, cluster)
		p.say(t, other, report("127.0.0.1:1"))
		p.say(t, report(strings.Repeat("a", 65<<10)))
		synctest.Wait()
		p = newRawPeer(t, cluster)
		p.say(t, other)
		require.Equal(t, "127.0.0.1:1", p.hear(t).GetRedirect().GetLeader().GetAddress())
	})
}

// A tool that asks for something which takes longer than a hello may is not
// shown out meanwhile, and its connection is afterwards.
func TestToolsThatHaveToWait(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		next := cluster.Start(clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
			time.Sleep(4 * time.Second)
			return up.Open(ctx)
		}))
		start := time.Now()
		_, err := clusterclient.ResignAt(t.Context(), clustertest.Name, clustertest.Port, false, clusterclient.WithNetwork(cluster.Network.Host()))
		require.NoError(t, err)
		require.Equal(t, 4*time.Second, time.Since(start).Round(time.Second), "fake time")
		mustBecome(t, next, clusterclient.RoleLeader)
	})
}

// end ends the session.
func (p *rawPeer) end(t *testing.T) {
	t.Helper()
	require.NoError(t, p.stream.CloseSend())
	for err := error(nil); err == nil; {
		_, err = p.stream.Recv()
	}
}

// Sessions and calls of one connection are counted as they begin and as they
// end, though it is known only with the first session which process it is.
func TestSessionsOfOneConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		silent := cluster.Start(asFollower)
		p := newRawPeer(t, cluster)
		leads := clusterclientv1.NewClusterClientServiceClient(p.conn)
		silent.Freeze()
		inspected := make(chan error, 1)
		go func() { // takes a second
			_, err := leads.Inspect(t.Context(), &clusterclientv1.InspectRequest{Followers: true})
			inspected <- err
		}()
		synctest.Wait()
		p.say(t, helloFrame(1))
		require.NotNil(t, p.hear(t).GetWelcome())
		require.NoError(t, <-inspected)
		p.end(t)
		for range 50 {
			one, two := p.another(t), p.another(t)
			for _, s := range []*rawPeer{one, two} {
				s.say(t, helloFrame(1))
				require.NotNil(t, s.hear(t).GetWelcome())
			}
			_, err := leads.Inspect(t.Context(), &clusterclientv1.InspectRequest{})
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			require.ErrorContains(t, err, "has 3 sessions already")
			one.end(t)
			_, err = leads.Inspect(t.Context(), &clusterclientv1.InspectRequest{})
			require.NoError(t, err)
			two.end(t)
		}
	}, clusterclient.WithLimits(clusterclient.Limits{Sessions: 3})) // that of silent is one
}

// A connection whose next session begins as the last one ends stays.
func TestSessionsThatFollowEachOther(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		var last []*rawPeer
		for i := range 100 {
			p := newRawPeer(t, cluster)
			p.say(t, helloFrame(1))
			require.NotNil(t, p.hear(t).GetWelcome())
			next := p.another(t)
			if i%2 == 0 {
				require.NoError(t, p.stream.CloseSend())
			}
			next.say(t, helloFrame(1))
			require.NotNil(t, next.hear(t).GetWelcome())
			if i%2 == 1 {
				require.NoError(t, p.stream.CloseSend())
			}
			last = append(last, next)
		}
		time.Sleep(time.Minute)
		for i, p := range last {
			p.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Publish{Publish: &clusterclientv1.Publish{Id: 1, Key: fmt.Sprint(i)}}})
			require.EqualValues(t, 1, p.hear(t).GetReply().GetId())
		}
	})
}

// A client's streams reach what the upstream registered, and nothing of the
// leader's own.
func TestStreamsOfTheLeadersOwn(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, method := range []string{"Session", "Inspect", "Resign", "Unknown"} {
			s, err := e.Client.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/clusterclient.v1.ClusterClientService/"+method)
			require.NoError(t, err)
			_ = s.SendMsg(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{helloFrame(1)}})
			require.NoError(t, s.CloseSend())
			require.Equal(t, codes.Unimplemented, status.Code(s.RecvMsg(&clusterclientv1.SessionResponse{})), method)
		}
		require.EqualValues(t, 1, e.Client.Status().Term)
		start := time.Now()
		require.NoError(t, e.Node.Close())
		require.Zero(t, time.Since(start), "it waits for streams")
	})
}
