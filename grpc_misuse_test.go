package clusterclient_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
)

// TestStreamMessagesThatMakeNoSense holds that these do not look like the loss of
// a leader.
func TestStreamMessagesThatMakeNoSense(t *testing.T) {
	good := &testprotov1.ChatRequest{Text: "good"}
	for name, misuse := range map[string]func(s grpc.ClientStream) error{
		"not a message":   func(s grpc.ClientStream) error { return s.SendMsg("good") },
		"does not encode": func(s grpc.ClientStream) error { return s.SendMsg(&testprotov1.ChatRequest{Text: "\xff"}) },
		"after CloseSend": func(s grpc.ClientStream) error { _ = s.CloseSend(); return s.SendMsg(good) },
		"into no message": func(s grpc.ClientStream) error { _ = s.SendMsg(good); return s.RecvMsg("answer") },
	} {
		t.Run(name, func(t *testing.T) {
			overStub(t, func(t *testing.T, e *env, _ *echoService, _ testprotov1.EchoServiceClient) {
				stream, err := e.Client.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, testprotov1.EchoService_Chat_FullMethodName)
				require.NoError(t, err)
				err = misuse(stream)
				for range 2 {
					require.ErrorIs(t, err, clusterclient.ErrInvalid)
					require.NotErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
					require.Equal(t, codes.InvalidArgument, status.Code(err))
					require.False(t, clusterclient.FromLeader(err))
					err = stream.RecvMsg(new(testprotov1.ChatResponse))
				}
			})
		})
	}
}

// A reader who waits while a message of its stream is refused hears why.
func TestStreamMessageThatMakesNoSenseWhileOneReads(t *testing.T) {
	overStub(t, func(t *testing.T, _ *env, _ *echoService, stub testprotov1.EchoServiceClient) {
		for range 20 {
			stream, err := stub.Chat(t.Context())
			require.NoError(t, err)
			read := make(chan error)
			go func() {
				_, err := stream.Recv()
				read <- err
			}()
			require.ErrorIs(t, stream.SendMsg("good"), clusterclient.ErrInvalid)
			require.ErrorIs(t, <-read, clusterclient.ErrInvalid)
		}
	})
}
