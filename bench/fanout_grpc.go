package main

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/internal/testproto/v1"
)

// grpcFan is a gRPC stream for each subscriber, which has all keys on it and
// encodes each update anew. One goroutine reads each stream.
type grpcFan struct{}

func (grpcFan) source(string, int) (string, func(int, []byte) error, func() error, error) {
	hub := &grpcHub{streams: make(map[chan *testprotov1.ChatResponse]struct{})}
	address, stop, err := serveGRPC(func(s *grpc.Server) { testprotov1.RegisterEchoServiceServer(s, hub) })
	return address, hub.update, stop, err
}

func (grpcFan) subscribe(address string, _ int, got func([]byte)) (func() error, error) {
	conn, err := dialGRPC(address)
	if err != nil {
		return nil, err
	}
	stream, err := testprotov1.NewEchoServiceClient(conn).Chat(context.Background())
	if err == nil {
		_, err = stream.Recv() // the hub has the stream now
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go func() {
		for {
			m, err := stream.Recv()
			if err != nil {
				return
			}
			got([]byte(m.GetText()[:stampBytes]))
		}
	}()
	return conn.Close, nil
}

// grpcHub hands each update to every stream.
type grpcHub struct {
	testprotov1.UnimplementedEchoServiceServer

	mu      sync.Mutex
	streams map[chan *testprotov1.ChatResponse]struct{}
}

func (h *grpcHub) update(_ int, value []byte) error {
	m := &testprotov1.ChatResponse{Text: string(value)}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		s <- m // has room for more than the source may be ahead
	}
	return nil
}

// Chat sends updates until the subscriber leaves.
func (h *grpcHub) Chat(stream grpc.BidiStreamingServer[testprotov1.ChatRequest, testprotov1.ChatResponse]) error {
	updates := make(chan *testprotov1.ChatResponse, 4*window)
	h.mu.Lock()
	h.streams[updates] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.streams, updates)
	}()
	if err := stream.Send(&testprotov1.ChatResponse{}); err != nil {
		return err
	}
	for {
		select {
		case m := <-updates:
			if err := stream.Send(m); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
