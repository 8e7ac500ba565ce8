package main

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/clusterclient/clusterclient/internal/testproto/v1"
)

// unaryPeer is a generated stub over one grpc.ClientConn, with the defaults of
// grpc-go on both sides.
type unaryPeer struct{}

func (unaryPeer) serve(string) (string, func() error, error) {
	return serveGRPC(func(s *grpc.Server) { testprotov1.RegisterEchoServiceServer(s, echoServer{}) })
}

func (unaryPeer) dial(address string) (func(context.Context) error, func() error, error) {
	conn, err := dialGRPC(address)
	if err != nil {
		return nil, nil, err
	}
	return echoStub(testprotov1.NewEchoServiceClient(conn)), conn.Close, nil
}

func echoStub(stub testprotov1.EchoServiceClient) func(context.Context) error {
	request := &testprotov1.EchoRequest{Text: payload}
	return func(ctx context.Context) error {
		reply, err := stub.Echo(ctx, request)
		if err != nil {
			return err
		}
		return echoed(len(reply.GetText()))
	}
}

// bidiPeer is one stream with a message for each call. The server answers in
// order, so that calls need no numbers.
type bidiPeer struct{}

func (bidiPeer) serve(broker string) (string, func() error, error) { return unaryPeer{}.serve(broker) }

func (bidiPeer) dial(address string) (func(context.Context) error, func() error, error) {
	conn, err := dialGRPC(address)
	if err != nil {
		return nil, nil, err
	}
	stream, err := testprotov1.NewEchoServiceClient(conn).Chat(context.Background())
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	c := &bidiCaller{stream: stream, waiting: make(chan chan int, 1<<14)}
	go c.receive()
	return c.call, conn.Close, nil
}

type bidiCaller struct {
	stream  grpc.BidiStreamingClient[testprotov1.ChatRequest, testprotov1.ChatResponse]
	mu      sync.Mutex    // held while sending, and while saying who waits
	waiting chan chan int // in the order of the requests
	replies sync.Pool
}

func (c *bidiCaller) call(context.Context) error {
	reply, ok := c.replies.Get().(chan int)
	if !ok {
		reply = make(chan int, 1)
	}
	defer c.replies.Put(reply)
	c.mu.Lock()
	c.waiting <- reply
	err := c.stream.Send(&testprotov1.ChatRequest{Text: payload})
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return echoed(<-reply)
}

func (c *bidiCaller) receive() {
	for {
		m, err := c.stream.Recv()
		if err != nil {
			return
		}
		reply := <-c.waiting
		reply <- len(m.GetText())
	}
}

// echoServer answers both.
type echoServer struct {
	testprotov1.UnimplementedEchoServiceServer
}

// Echo answers with the text of the request.
func (echoServer) Echo(_ context.Context, r *testprotov1.EchoRequest) (*testprotov1.EchoResponse, error) {
	return &testprotov1.EchoResponse{Text: r.GetText()}, nil
}

// Chat answers each text as it comes.
func (echoServer) Chat(stream grpc.BidiStreamingServer[testprotov1.ChatRequest, testprotov1.ChatResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(&testprotov1.ChatResponse{Text: m.GetText()}); err != nil {
			return err
		}
	}
}

// serveGRPC runs a gRPC server on a free port.
func serveGRPC(register func(*grpc.Server)) (string, func() error, error) {
	l, err := listenLoopback()
	if err != nil {
		return "", nil, err
	}
	s := grpc.NewServer()
	register(s)
	go func() { _ = s.Serve(l) }()
	return l.Addr().String(), func() error { s.Stop(); return nil }, nil
}

func dialGRPC(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// listenLoopback takes a free port.
func listenLoopback() (net.Listener, error) {
	var c net.ListenConfig
	return c.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

// dialLoopback connects to address.
func dialLoopback(address string) (net.Conn, error) {
	ctx, cancel := within(startTimeout)
	defer cancel()
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}
