package clusterclient

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/mempipe"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A connection is cut when nothing has come from the other end for cutAfter:
// no request, and neither what its transport answers by itself, to data that it
// has taken and to the question whether it is there, which is asked after
// askAfter. So a process that is stopped is cut off, and one that is slow is
// not, as long as a byte moves.
const (
	askAfter = 10 * time.Second
	cutAfter = 30 * time.Second
)

// flushTimeout bounds how long a server that stops waits for peers to take
// what it has for them. One that is stopped itself takes nothing.
const flushTimeout = time.Second

// A server answers at the address of a client that leads. It serves the
// client's own name and, while it owns the cluster's port, tells everybody
// else where their names are led.
type server struct {
	clusterclientv1.UnimplementedClusterClientServiceServer
	c         *Client
	grpc      *grpc.Server
	local     *mempipe.Listener // for streams of this process
	acceptor  *acceptor
	dir       *directory
	ctx       context.Context // ends with the server
	cancel    context.CancelFunc
	wg        sync.WaitGroup // listeners and sessions
	granted   uint64         // term the leadership began with
	archive   *archive       // nil without one
	supersede func(uint64)   // ends the leadership: that term beats it
	leaseHold *leaseHold
	couldLead atomic.Int32 // visitors that could, and do not leave it to others

	mu        sync.Mutex // guards what follows
	state     serving
	listeners []net.Listener
	freed     bool          // no more listeners
	stopped   bool          // no more sessions
	changed   chan struct{} // closed and replaced when state changes
}

// serving is how far the leadership has come.
type serving struct {
	leader  *leader.Leader // nil until the upstream is open
	waiting string         // why leader is nil
	term    uint64         // of a leader before; 0 when there was none
	failed  error          // the upstream could not be opened
	leaving bool
}

func (c *Client) newServer(m mandate, supersede func(*supersededError)) *server {
	if m.leaseHold != nil {
		m.leaseHold.endsBy(supersede)
	}
	s := &server{
		c: c, granted: m.term, leaseHold: m.leaseHold, local: mempipe.Listen(mempipe.Addr("local")),
		supersede: func(by uint64) { supersede(&supersededError{term: by}) },
		changed:   make(chan struct{}),
		state:     serving{waiting: "the upstream is being opened"},
	}
	s.dir = newDirectory(s)
	s.acceptor = newAcceptor(c, s.takeLane)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.Creds(s.acceptor),
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(wire.MaxFrame), // gRPC's own limit is 4 MiB
		grpc.MaxSendMsgSize(wire.MaxFrame),
		grpc.InitialWindowSize(leaderWindow),
		grpc.InitialConnWindowSize(connWindow),
		grpc.ReadBufferSize(readBuffer),
		experimental.BufferPool(wire.FramePool()),
		grpc.WriteBufferSize(writeBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: askAfter, Timeout: cutAfter - askAfter}),
		grpc.ConnectionTimeout(max(c.opts.limits.Handshake, c.opts.limits.Handshake+time.Second)), // the acceptor is first, and says why
		grpc.MaxConcurrentStreams(uint32(c.opts.limits.Calls)+1),                                  // and the session's own
		grpc.MaxHeaderListSize(maxHeader),
		grpc.InTapHandle(makeCuttable),
		grpc.UnknownServiceHandler(s.serveStream),
	)
	s.grpc.RegisterService(s.service(), s)
	s.wg.Go(func() { _ = s.grpc.Serve(s.local) })
	return s
}

// listen serves on lis until freePort, and not at all after it.
func (s *server) listen(lis net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		_ = lis.Close()
		return false
	}
	s.listeners = append(s.listeners, lis)
	s.wg.Go(func() { _ = s.grpc.Serve(outside{lis}) })
	if both, ok := lis.(*twoRoads); ok {
		s.wg.Go(func() { _ = s.grpc.Serve(outside{both.beside}) })
	}
	return true
}

// setState changes how the server answers.
func (s *server) setState(change func(*serving)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *server) getState() (serving, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state, s.changed
}

// freePort stops listening; connections stay.
func (s *server) freePort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.freed = true
	for _, lis := range s.listeners {
		_ = lis.Close()
	}
}

// stop ends every connection, once what was said has been sent, and waits for
// what served them.
func (s *server) stop() {
	s.freePort()
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.dir.stop()
	s.acceptor.close()
	late := time.AfterFunc(flushTimeout, s.grpc.Stop)
	s.grpc.GracefulStop()
	late.Stop()
	s.wg.Wait()
}

// localConn returns a connection to this server from within the process.
func (s *server) localConn() (*grpc.ClientConn, error) {
	return clientConn(localTimeout, s.local.Dial)
}

// service is what this server answers itself: whoever connects for that, and no
// stream that belongs to a session, with which only what the upstream
// registered can be reached. All of it are streams, as those are.
func (s *server) service() *grpc.ServiceDesc {
	own := clusterclientv1.ClusterClientService_ServiceDesc // a copy
	all := slices.Clone(own.Streams)
	for _, m := range own.Methods {
		all = append(all, grpc.StreamDesc{StreamName: m.MethodName, Handler: func(srv any, stream grpc.ServerStream) error {
			reply, err := m.Handler(srv, stream.Context(), stream.RecvMsg, nil)
			if err != nil {
				return err
			}
			return stream.SendMsg(reply)
		}})
	}
	for i, d := range all {
		all[i].Handler = func(srv any, stream grpc.ServerStream) error {
			if len(metadata.ValueFromIncomingContext(stream.Context(), wire.SessionKey)) > 0 {
				return s.serveStream(srv, stream)
			}
			return d.Handler(srv, stream)
		}
	}
	own.Methods, own.Streams = nil, all
	return &own
}

// cutKey is the context key of what ends the stream of a session.
type cutKey struct{}

// makeCuttable gives a stream that belongs to a session a context that can be
// ended before the connection is: it is that which gRPC waits with, in Send and
// Recv.
func makeCuttable(ctx context.Context, stream *tap.Info) (context.Context, error) {
	if len(stream.Header[wire.SessionKey]) == 0 {
		return ctx, nil
	}
	ctx, cut := context.WithCancel(ctx) // whose end is that of the stream, at the latest
	return context.WithValue(ctx, cutKey{}, cut), nil
}

// serveStream takes the streams of the services that the upstream registered.
func (s *server) serveStream(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	state, _ := s.getState()
	if state.leader == nil {
		return status.Error(codes.Unavailable, state.waiting)
	}
	cut, _ := stream.Context().Value(cutKey{}).(context.CancelFunc)
	return state.leader.ServeStream(method, stream, peerConnOf(stream.Context()).key(), cut)
}

// Session serves a client that dialled this address.
func (s *server) Session(stream grpc.BidiStreamingServer[clusterclientv1.SessionRequest, clusterclientv1.SessionResponse]) error {
	if !s.enter() {
		return errStopped
	}
	defer s.wg.Done()
	from := peerConnOf(stream.Context())
	hello, report, err := s.greet(stream, from)
	if err != nil {
		return err
	}
	v := &visitor{s: s, stream: stream, hello: hello, from: from}
	if len(hello.GetName()) > maxName || proto.Size(hello) > maxHello || proto.Size(report) > maxHello {
		v.hello = nil // nothing of it is kept
		return v.refuse(clusterclientv1.Code_CODE_LIMIT, fmt.Sprintf("takes a hello of %d bytes at most, with a name of %d", maxHello, maxName))
	}
	key, err := from.enters(hello)
	if err != nil {
		return v.refuse(clusterclientv1.Code_CODE_LIMIT, err.Error())
	}
	defer from.exits(key)
	switch {
	case hello.GetProtocol() != wire.Protocol:
		return v.refuse(clusterclientv1.Code_CODE_PROTOCOL, fmt.Sprintf("speaks version %d of the protocol, not %d", wire.Protocol, hello.GetProtocol()))
	case report != nil:
		return s.dir.serveReport(v, report)
	case hello.GetName() == s.c.name:
		return v.join()
	case !s.dir.isOwner():
		return v.refuse(clusterclientv1.Code_CODE_NOT_HERE, "does not lead the name")
	default:
		return s.dir.serve(v)
	}
}

var errStopped = status.Error(codes.Unavailable, "the leader is leaving")

// enter counts a session; false means that the server has stopped.
func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.wg.Add(1)
	}
	return !s.stopped
}

// term returns the term of this server's leadership.
func (s *server) term() uint64 {
	state, _ := s.getState()
	if state.leader != nil {
		return state.leader.Term()
	}
	return max(s.granted, state.term)
}

// endOfSession returns how gRPC is to end the stream of a session: any error
// of it was the stream's own.
func endOfSession(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codes.Unavailable, err.Error())
}
