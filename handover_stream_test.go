package clusterclient_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// chat has one message echoed over a stream of its own.
func chat(ctx context.Context, stub testprotov1.EchoServiceClient, text string) (string, error) {
	stream, err := stub.Chat(ctx)
	if err != nil {
		return "", err
	}
	if err := stream.Send(&testprotov1.ChatRequest{Text: text}); err != nil {
		return "", err
	}
	if err := stream.CloseSend(); err != nil {
		return "", err
	}
	resp, err := stream.Recv()
	if err != nil {
		return "", err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return "", err
	}
	return resp.GetText(), nil
}

// TestStreamsWhileTheLeaderLeaves opens streams from every process just when the
// leader leaves. Each is answered, by the old leader or by the next one.
func TestStreamsWhileTheLeaderLeaves(t *testing.T) {
	options := map[string][]clusterclient.Option{
		"hands over": nil, "closes its upstream first": {clusterclient.WithStrictlyOneUpstream()},
	}
	for how, leave := range leavings {
		for what, opts := range options {
			t.Run(how+" and "+what, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, new(echoService)) }
					for range 4 {
						cluster.Start()
					}
					for range 3 {
						was := cluster.Leader()
						var callers sync.WaitGroup
						for _, n := range append(cluster.Followers(), was) {
							callers.Go(func() { chats(t, n, n == was && how == "is closed") })
						}
						assert.NoError(t, leave(t.Context(), was))
						callers.Wait()
						time.Sleep(time.Minute) // whoever resigned lets the others go first
					}
				}, opts...)
			})
		}
	}
}

// chats opens one stream after the other. In a process that is being closed
// that may be too late.
func chats(t *testing.T, n *clustertest.Node, closed bool) {
	stub := testprotov1.NewEchoServiceClient(n.Client)
	for i := range 15 {
		got, err := chat(t.Context(), stub, strconv.Itoa(i))
		if closed && errors.Is(err, clusterclient.ErrClosed) {
			return
		}
		if !assert.NoError(t, err, "stream %d", i) || !assert.Equal(t, strconv.Itoa(i), got) {
			return
		}
	}
}

// finishedStream returns a stream to reader's leader that is finished there, but
// for texts of 8 KiB that nobody has read yet.
func finishedStream(t *testing.T, reader *clustertest.Node, texts int) testprotov1.EchoService_ChatClient {
	t.Helper()
	stream, err := testprotov1.NewEchoServiceClient(reader.Client).Chat(t.Context())
	require.NoError(t, err)
	for range texts {
		require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: strings.Repeat("x", 8<<10)}))
	}
	require.NoError(t, stream.CloseSend())
	synctest.Wait()
	return stream
}

// mustRead reads so many texts.
func mustRead(t *testing.T, stream testprotov1.EchoService_ChatClient, texts int) {
	t.Helper()
	for i := range texts {
		resp, err := stream.Recv()
		require.NoError(t, err, "message %d", i)
		require.Len(t, resp.GetText(), 8<<10)
	}
}

// TestStreamThatIsReadLate has a stream that the leader has finished, and whose
// end has not reached its reader yet when the leader leaves. What the transport
// takes, 512 KiB, is there for the reader however late it comes; more than that is
// waited for, a second long.
func TestStreamThatIsReadLate(t *testing.T) {
	for name, row := range map[string]struct {
		texts, read int
		late        time.Duration
	}{
		"more than the transport takes":        {texts: 70, read: 70},
		"what the transport takes, much later": {texts: 63, read: 63, late: time.Minute},
		"more than that, much later":           {texts: 70, read: 63, late: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, new(echoService)) }
				was, reader := cluster.Start(), cluster.Start()
				stream := finishedStream(t, reader, row.texts)
				var resigning sync.WaitGroup
				defer resigning.Wait()
				resigning.Go(func() { assert.NoError(t, was.Resign(t.Context())) })
				mustBecome(t, reader, clusterclient.RoleLeader)
				time.Sleep(row.late)
				mustRead(t, stream, row.read)
				_, err := stream.Recv()
				if row.read == row.texts {
					require.ErrorIs(t, err, io.EOF)
				} else {
					require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
				}
			})
		})
	}
}

// TestStreamThatEndsInTime has a stream that goes on, both ways, while its leader
// leaves, for longer than whoever resigned lets the others go first. Another one
// leads afterwards all the same.
func TestStreamThatEndsInTime(t *testing.T) {
	for name, opts := range map[string][]clusterclient.Option{
		"hands over": nil, "closes its upstream first": {clusterclient.WithStrictlyOneUpstream()},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, new(echoService)) }
				was, caller := cluster.Start(), cluster.Start()
				stream, err := testprotov1.NewEchoServiceClient(caller.Client).Chat(t.Context())
				require.NoError(t, err)
				var resigning sync.WaitGroup
				defer resigning.Wait()
				for i := range 10 {
					require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: strconv.Itoa(i)}))
					_, err := stream.Recv()
					require.NoError(t, err, "message %d", i)
					if i == 0 {
						resigning.Go(func() {
							ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
							defer cancel()
							assert.NoError(t, was.Resign(ctx), "another leads")
						})
					}
					time.Sleep(480 * time.Millisecond)
				}
				require.NoError(t, stream.CloseSend())
				_, err = stream.Recv()
				require.ErrorIs(t, err, io.EOF)
			}, opts...)
		})
	}
}

// drainTime is for how long a leader that leaves waits for streams.
const drainTime = 5 * time.Second

// longStreams are services with a stream that does not end by itself, and what a
// client does with it, again and again, until that fails.
var longStreams = map[string]struct {
	service testprotov1.EchoServiceServer
	next    func(stream testprotov1.EchoService_ChatClient, round int) error
}{
	"waits in Recv": {new(echoService), recv},
	"receives and sends": {new(echoService), func(stream testprotov1.EchoService_ChatClient, round int) error {
		time.Sleep(70 * time.Millisecond)
		_ = stream.Send(&testprotov1.ChatRequest{Text: "more"})
		return recv(stream, round)
	}},
	"waits for its context": {chatService{chat: func(stream testprotov1.EchoService_ChatServer) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	}}, recv},
	"sends all the time": {chatService{chat: func(stream testprotov1.EchoService_ChatServer) error {
		for {
			if err := stream.Send(&testprotov1.ChatResponse{Text: "more"}); err != nil {
				return err
			}
			time.Sleep(70 * time.Millisecond)
		}
	}}, recv},
	"waits in Send": {chatService{chat: func(stream testprotov1.EchoService_ChatServer) error {
		for {
			if err := stream.Send(&testprotov1.ChatResponse{Text: strings.Repeat("x", 8<<10)}); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}}, func(stream testprotov1.EchoService_ChatClient, round int) error {
		if round < 10 { // of the 64 or so that are on the way
			time.Sleep(drainTime / 10)
		}
		return recv(stream, round)
	}},
}

func recv(stream testprotov1.EchoService_ChatClient, _ int) error {
	_, err := stream.Recv()
	return err
}

// chatService has a stream that does what it is told.
type chatService struct {
	testprotov1.UnimplementedEchoServiceServer
	chat func(testprotov1.EchoService_ChatServer) error
}

func (s chatService) Chat(stream testprotov1.EchoService_ChatServer) error { return s.chat(stream) }

// TestStreamThatGoesOnForLong has a stream that is still under way when the
// leader waits for it no longer, whatever its handler waits for then. It is no
// reason for the leader to stay, nor to complain.
func TestStreamThatGoesOnForLong(t *testing.T) {
	for name, row := range longStreams {
		for how, leave := range leavings {
			t.Run(name+", "+how, func(t *testing.T) {
				inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
					up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, row.service) }
					was, caller := cluster.Start(), cluster.Start()
					stream, err := testprotov1.NewEchoServiceClient(caller.Client).Chat(t.Context())
					require.NoError(t, err)
					synctest.Wait()
					began := time.Now()
					left := make(chan error, 1)
					go func() { left <- leave(t.Context(), was) }()
					for round := 0; err == nil; round++ {
						err = row.next(stream, round)
					}
					require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
					require.ErrorContains(t, err, "its leadership is over")
					require.Equal(t, drainTime, time.Since(began).Truncate(100*time.Millisecond), "time until the stream has ended")
					require.NoError(t, <-left)
					mustBecome(t, caller, clusterclient.RoleLeader)
					require.Less(t, time.Since(began), drainTime+time.Second, "time until another leads")
				})
			})
		}
	}
}

// TestStreamWhoseHandlerGoesOnRegardless holds the leader up for as long as a
// handler may that was told to end.
func TestStreamWhoseHandlerGoesOnRegardless(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		deaf := chatService{chat: func(testprotov1.EchoService_ChatServer) error { time.Sleep(longEnough); return nil }}
		up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, deaf) }
		was, caller := cluster.Start(), cluster.Start()
		defer time.Sleep(longEnough) // a bubble has to outlive its goroutines
		stream, err := testprotov1.NewEchoServiceClient(caller.Client).Chat(t.Context())
		require.NoError(t, err)
		began := time.Now()
		left := make(chan error, 1)
		go func() { left <- was.Close() }()
		require.ErrorIs(t, recv(stream, 0), clusterclient.ErrOutcomeUnknown)
		require.Equal(t, 2*drainTime+time.Second, time.Since(began).Truncate(time.Second), "time until the stream has ended")
		require.ErrorContains(t, <-left, "EchoService/Chat\"] have not returned")
		mustBecome(t, caller, clusterclient.RoleLeader)
	})
}
