package clusterclient_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// echoService answers what it is asked, sends the metadata "ask" back as the
// header "header" and the trailer "trailer", and fails when it is asked for
// "fail".
type echoService struct {
	testprotov1.UnimplementedEchoServiceServer
	deadline time.Time
	ended    time.Time // when the context of Count without end has
}

var errDetailed = func() error {
	st, err := status.New(codes.FailedPrecondition, "asked to").WithDetails(&testprotov1.EchoRequest{Text: "detail"})
	if err != nil {
		panic(err)
	}
	return st.Err()
}()

func answerMetadata(ctx context.Context, header, trailer func(metadata.MD) error) error {
	md, _ := metadata.FromIncomingContext(ctx)
	for key := range md {
		if strings.HasPrefix(key, "clusterclient-") {
			return errors.New("the handler sees " + key)
		}
	}
	return errors.Join(header(metadata.MD{"header": md.Get("ask")}), trailer(metadata.MD{"trailer": md.Get("ask")}))
}

func (s *echoService) Echo(ctx context.Context, req *testprotov1.EchoRequest) (*testprotov1.EchoResponse, error) {
	s.deadline, _ = ctx.Deadline()
	err := answerMetadata(ctx, func(md metadata.MD) error { return grpc.SetHeader(ctx, md) }, func(md metadata.MD) error { return grpc.SetTrailer(ctx, md) })
	if err == nil && req.GetText() == "fail" {
		err = errDetailed
	}
	return &testprotov1.EchoResponse{Text: req.GetText()}, err
}

func (s *echoService) Count(req *testprotov1.CountRequest, stream grpc.ServerStreamingServer[testprotov1.CountResponse]) error {
	ctx := stream.Context()
	s.deadline, _ = ctx.Deadline()
	if _, ok := leader.CallerFrom(ctx); !ok {
		return errors.New("nobody calls")
	}
	if err := answerMetadata(ctx, stream.SetHeader, func(md metadata.MD) error { stream.SetTrailer(md); return nil }); err != nil {
		return err
	}
	for i := int64(1); i != req.GetLimit()+1; i++ {
		if err := stream.Send(&testprotov1.CountResponse{Number: i}); err != nil {
			return err
		}
		if req.GetLimit() < 0 {
			<-ctx.Done()
			s.ended = time.Now()
			return ctx.Err()
		}
	}
	if req.GetLimit() == 7 {
		return errDetailed
	}
	return nil
}

func (s *echoService) Join(stream grpc.ClientStreamingServer[testprotov1.JoinRequest, testprotov1.JoinResponse]) error {
	var all strings.Builder
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testprotov1.JoinResponse{Text: all.String()})
		}
		if err != nil {
			return err
		}
		if req.GetText() == "panic" {
			panic("oh no")
		}
		all.WriteString(req.GetText())
	}
}

func (s *echoService) Chat(stream grpc.BidiStreamingServer[testprotov1.ChatRequest, testprotov1.ChatResponse]) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		text := req.GetText()
		switch text {
		case "exit":
			runtime.Goexit()
		case "large":
			text = strings.Repeat("x", tooLargeForAStream)
		}
		if err := stream.Send(&testprotov1.ChatResponse{Text: text}); err != nil {
			return err
		}
	}
}

const tooLargeForAStream = 66 << 20

// overStub runs test for each role with a generated stub over the client.
func overStub(t *testing.T, test func(t *testing.T, e *env, s *echoService, stub testprotov1.EchoServiceClient)) {
	t.Helper()
	var s *echoService
	eachRole(t, func(t *testing.T, e *env) {
		test(t, e, s, testprotov1.NewEchoServiceClient(e.Client))
	}, func(e *env) {
		s = new(echoService)
		e.Up.Methods = func(r *leader.Registry) {
			testprotov1.RegisterEchoServiceServer(r, s)
			r.Configure(testprotov1.EchoService_Echo_FullMethodName, leader.Idempotent())
		}
	})
}

func TestStubUnary(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, s *echoService, stub testprotov1.EchoServiceClient) {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "ask", "one", "Ask", "two"), time.Second)
		defer cancel()
		var header, trailer metadata.MD
		var finished []error
		opts := []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer), grpc.OnFinish(func(err error) { finished = append(finished, err) })}
		resp, err := stub.Echo(ctx, &testprotov1.EchoRequest{Text: "hello"}, opts...)
		require.NoError(t, err)
		require.Equal(t, "hello", resp.GetText())
		require.Equal(t, []string{"one", "two"}, header.Get("header"), "header")
		require.Equal(t, []string{"one", "two"}, trailer.Get("trailer"), "trailer")
		want, _ := ctx.Deadline()
		require.Equal(t, want.UnixNano(), s.deadline.UnixNano(), "the handler's deadline")

		header, trailer = nil, nil
		_, err = stub.Echo(ctx, &testprotov1.EchoRequest{Text: "fail"}, opts...)
		requireDetailed(t, err)
		require.Equal(t, []string{"one", "two"}, header.Get("header"), "header of a call that failed")
		require.Equal(t, []string{"one", "two"}, trailer.Get("trailer"), "trailer of a call that failed")
		require.Len(t, finished, 2, "calls that finished")
		require.NoError(t, finished[0])
		require.Equal(t, err, finished[1])
	})
}

func requireDetailed(t *testing.T, err error) {
	t.Helper()
	got, ok := status.FromError(err)
	require.True(t, ok, "status.FromError(%v)", err)
	want, _ := status.FromError(errDetailed)
	require.True(t, proto.Equal(want.Proto(), got.Proto()), "status = %v, want %v", got, want)
	require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
}

func TestStubServerStream(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, s *echoService, stub testprotov1.EchoServiceClient) {
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "ask", "one"), time.Second)
		defer cancel()
		for _, limit := range []int64{1000, 7} {
			stream, err := stub.Count(ctx, &testprotov1.CountRequest{Limit: limit})
			require.NoError(t, err)
			header, err := stream.Header()
			require.NoError(t, err)
			require.Equal(t, []string{"one"}, header.Get("header"), "header")
			for i := range limit {
				resp, err := stream.Recv()
				require.NoError(t, err, "number %d", i+1)
				require.Equal(t, i+1, resp.GetNumber())
			}
			_, err = stream.Recv()
			if limit == 7 {
				requireDetailed(t, err)
			} else {
				require.Equal(t, io.EOF, err, "what follows the last number")
			}
			trailer := stream.Trailer()
			delete(trailer, "grpc-status-details-bin") // gRPC's own
			require.Equal(t, metadata.MD{"trailer": {"one"}}, trailer, "trailer")
		}
		want, _ := ctx.Deadline()
		require.WithinDuration(t, want, s.deadline, time.Millisecond, "the handler's deadline")
	})
}

func TestStubClientStream(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		stream, err := stub.Join(t.Context())
		require.NoError(t, err)
		for _, text := range []string{"a", "b", strings.Repeat("c", 5<<20)} {
			require.NoError(t, stream.Send(&testprotov1.JoinRequest{Text: text}))
		}
		resp, err := stream.CloseAndRecv()
		require.NoError(t, err)
		require.Equal(t, 2+(5<<20), len(resp.GetText()), "bytes of the answer")
		require.True(t, strings.HasPrefix(resp.GetText(), "abccc"), "the answer begins with %q", resp.GetText()[:5])

		stream, err = stub.Join(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&testprotov1.JoinRequest{Text: "panic"}))
		_, err = stream.CloseAndRecv()
		require.Equal(t, codes.Internal, status.Code(err), "%v", err)
		require.Contains(t, err.Error(), "oh no")
	})
}

func TestStubBidiStream(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		stream, err := stub.Chat(t.Context())
		require.NoError(t, err)
		for _, text := range []string{"one", "", "two"} {
			require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: text}))
			resp, err := stream.Recv()
			require.NoError(t, err)
			require.Equal(t, text, resp.GetText())
		}
		require.NoError(t, stream.CloseSend())
		_, err = stream.Recv()
		require.Equal(t, io.EOF, err)
	})
}

func TestStubStreamCanceled(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, s *echoService, stub testprotov1.EchoServiceClient) {
		ends := []struct {
			name string
			code codes.Code
			ctx  func() (context.Context, context.CancelFunc)
		}{
			{"cancel", codes.Canceled, func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(2*time.Second, cancel)
				return ctx, cancel
			}},
			{"deadline", codes.DeadlineExceeded, func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), 2*time.Second)
			}},
		}
		for _, end := range ends {
			ctx, cancel := end.ctx()
			began := time.Now()
			stream, err := stub.Count(ctx, &testprotov1.CountRequest{Limit: -1})
			require.NoError(t, err, end.name)
			_, err = stream.Recv()
			require.NoError(t, err, end.name)
			_, err = stream.Recv()
			require.Equal(t, end.code, status.Code(err), "%s: %v", end.name, err)
			require.ErrorIs(t, err, ctx.Err(), end.name)
			require.Equal(t, 2*time.Second, time.Since(began), "%s: time until the stream ended", end.name)
			synctest.Wait()
			require.Equal(t, 2*time.Second, s.ended.Sub(began), "%s: time until the handler's context ended", end.name)
			cancel()
		}
	})
}

func TestStubOfUnknownMethods(t *testing.T) {
	overStub(t, func(t *testing.T, e *env, _ *echoService, _ testprotov1.EchoServiceClient) {
		for _, method := range []string{"/no.Such/Method", testprotov1.EchoService_Echo_FullMethodName} {
			stream, err := e.Client.NewStream(t.Context(), &testprotov1.EchoService_ServiceDesc.Streams[0], method)
			require.NoError(t, err, "NewStream(%q)", method)
			err = stream.RecvMsg(new(testprotov1.CountResponse))
			require.Equal(t, codes.Unimplemented, status.Code(err), "stream of %q: %v", method, err)
			require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		}
		err := e.Client.Invoke(t.Context(), testprotov1.EchoService_Chat_FullMethodName, nil, nil)
		require.Equal(t, codes.Unimplemented, status.Code(err), "a call of a streaming method: %v", err)
	})
}

// TestStreamMessagesThatAreTooLarge holds that these do not look like the loss of
// a leader.
func TestStreamMessagesThatAreTooLarge(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		up, err := stub.Chat(t.Context())
		require.NoError(t, err)
		err = up.Send(&testprotov1.ChatRequest{Text: strings.Repeat("x", tooLargeForAStream)})
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		_, err = up.Recv()
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)

		down, err := stub.Chat(t.Context())
		require.NoError(t, err)
		require.NoError(t, down.Send(&testprotov1.ChatRequest{Text: "large"}))
		_, err = down.Recv()
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		require.NotErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
	})
}

func TestStreamHandlerThatEndsItsGoroutine(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		stream, err := stub.Chat(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: "exit"}))
		_, err = stream.Recv()
		require.Equal(t, codes.Internal, status.Code(err), "%v", err)
		require.ErrorContains(t, err, "called runtime.Goexit in the leader")
	})
}

// TestStreamNamesThatAreNone opens streams by names that gRPC would refuse, or cut
// off: that must not look like the loss of a leader.
func TestStreamNamesThatAreNone(t *testing.T) {
	overStub(t, func(t *testing.T, e *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		began := time.Now()
		for _, method := range []string{"", "Count", "/Count", "pkg.Service/Count", "/pkg.Service/Count\n", "/pkg.Service/\xff", "/pkg.Service/" + strings.Repeat("m", 4096)} {
			_, err := e.Client.NewStream(t.Context(), &testprotov1.EchoService_ServiceDesc.Streams[0], method)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "NewStream(%.20q)", method)
			require.Less(t, len(err.Error()), 256, "NewStream(%.20q)", method)
		}
		require.Zero(t, time.Since(began), "what cannot be is not waited for")
		_, err := stub.Echo(t.Context(), &testprotov1.EchoRequest{Text: "still here"})
		require.NoError(t, err)
	})
}

// TestStubStreamLeaderLost kills the leader in the middle of a stream.
func TestStubStreamLeaderLost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, new(echoService)) }
		cluster := clustertest.New(t, up)
		first, caller := cluster.Start(), cluster.Start()
		stub := testprotov1.NewEchoServiceClient(caller)
		stream, err := stub.Chat(t.Context())
		require.NoError(t, err)
		require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: "one"}))
		_, err = stream.Recv()
		require.NoError(t, err)
		first.Kill()
		_, err = stream.Recv()
		require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
		require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)

		stream, err = stub.Chat(t.Context())
		require.NoError(t, err, "a stream to the next leader")
		require.NoError(t, stream.Send(&testprotov1.ChatRequest{Text: "two"}))
		resp, err := stream.Recv()
		require.NoError(t, err)
		require.Equal(t, "two", resp.GetText())
		go func() { _ = caller.Close() }()
		_, err = stream.Recv()
		require.Error(t, err, "Recv when the client is closed")
		require.NotErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
	})
}
