package processtest

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clusterclient/clusterclient"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
)

// Chat is the method of a loop of streams.
const Chat = "chat"

// echo is a service of the centre's client. It counts the messages of its
// streams as calls.
type echo struct {
	testprotov1.UnimplementedEchoServiceServer
	c *centreClient
}

func (s *echo) Chat(stream testprotov1.EchoService_ChatServer) error {
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := s.c.ran(stream.Context(), req.GetText()); err != nil {
			return err
		}
		if err := stream.Send(&testprotov1.ChatResponse{Text: req.GetText()}); err != nil {
			return err
		}
	}
}

// chat has one message echoed on a stream of its own.
func chat(ctx context.Context, client *clusterclient.Client, text string) error {
	stream, err := testprotov1.NewEchoServiceClient(client).Chat(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(stream.Send(&testprotov1.ChatRequest{Text: text}), stream.CloseSend()); err != nil {
		return err
	}
	resp, err := stream.Recv()
	if err != nil {
		return err
	}
	if resp.GetText() != text {
		return fmt.Errorf("%q came back as %q", text, resp.GetText())
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after the end: %w", err)
	}
	return nil
}
