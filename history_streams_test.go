package clusterclient_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// The promise to a reader of streams, over random histories of those and of the
// cluster: see readStream.broken.
func TestStreamHistories(t *testing.T) {
	eachHistory(t, 2, 1, func(m *turmoil) {
		m.gentle = m.r.IntN(2) == 0
		h := &streamHistory{turmoil: m, over: make(map[*clustertest.Node]bool)}
		m.up.Methods = func(r *leader.Registry) { testprotov1.RegisterEchoServiceServer(r, counting{pause: streamPause}) }
		m.ends = func(n *clustertest.Node) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.over[n] = true
		}
		m.begin()
		h.run()
	})
}

// streamPause is the time between two numbers of a stream.
const streamPause = 50 * time.Millisecond

// counting counts, with pauses, and refuses to go beyond what it is asked for.
type counting struct {
	testprotov1.UnimplementedEchoServiceServer
	pause time.Duration
}

func (c counting) Count(req *testprotov1.CountRequest, stream grpc.ServerStreamingServer[testprotov1.CountResponse]) error {
	for i := range req.GetLimit() {
		if err := stream.Send(&testprotov1.CountResponse{Number: i + 1}); err != nil {
			return err
		}
		select {
		case <-time.After(c.pause):
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
	if req.GetLimit()%2 == 1 {
		return status.Errorf(codes.Aborted, "refused after %d", req.GetLimit())
	}
	return nil
}

// A streamHistory is what streams in a cluster yield.
type streamHistory struct {
	*turmoil
	mu      sync.Mutex // guards what follows, and what streams change
	over    map[*clustertest.Node]bool
	streams []*readStream
}

// A readStream is a stream as its reader saw it.
type readStream struct {
	node      *clustertest.Node
	limit     int64
	began     time.Time
	timeout   time.Duration // 0 for none
	cancelled time.Time     // zero if it is not
	rest      time.Duration // between two numbers

	numbers []int64
	ended   time.Time // zero until it has
	over    bool      // the reader's process was ended or stopped meanwhile
	err     error
}

func (h *streamHistory) run() {
	for range stepsEach {
		h.step()
	}
	h.calm()
	h.rest()
	h.mu.Lock()
	defer h.mu.Unlock()
	ends := make(map[codes.Code]int)
	for _, s := range h.streams {
		s.over = s.over || h.stops.hit(s.node, s.began, s.ended)
		require.NoError(h.t, s.broken(h.rough), "a stream of %d begun at %v, which may take %v and is given up at %v, ended after %v with %v: %v",
			s.limit, s.began, s.timeout, s.cancelled, s.ended.Sub(s.began), s.err, s.numbers)
		ends[status.Code(s.err)]++
	}
	h.t.Logf("streams by how they ended: %v; gentle: %v, %d terms", ends, h.gentle, h.leader().Status().Term)
}

// step is one thing that happens.
func (h *streamHistory) step() {
	switch n := h.r.IntN(1000); {
	case n < 300:
		h.read(h.nodes[h.r.IntN(len(h.nodes))])
	case n < 960:
		time.Sleep(time.Duration(h.r.IntN(200)) * time.Millisecond)
	case n < 980:
		time.Sleep(time.Duration(h.r.IntN(10)) * time.Second)
	default:
		h.upheaval()
	}
}

// read has a node read a stream.
func (h *streamHistory) read(n *clustertest.Node) {
	s := &readStream{node: n, limit: int64(h.r.IntN(30)), began: time.Now(), rest: time.Duration(h.r.IntN(2)*h.r.IntN(100)) * time.Millisecond}
	if h.r.IntN(4) == 0 {
		s.limit = int64(h.r.IntN(200))
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(h.t.Context()))
	switch h.r.IntN(5) {
	case 0:
		s.timeout = time.Duration(1+h.r.IntN(3000)) * time.Millisecond
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
	case 1:
		s.cancelled = s.began.Add(time.Duration(h.r.IntN(2000)) * time.Millisecond)
		time.AfterFunc(time.Until(s.cancelled), cancel)
	}
	h.streams = append(h.streams, s)
	go func() {
		defer cancel()
		err := s.read(ctx)
		h.mu.Lock()
		defer h.mu.Unlock()
		s.ended, s.err, s.over = time.Now(), err, h.over[n]
	}()
}

// read reads all, and returns nil at the end.
func (s *readStream) read(ctx context.Context) error {
	stream, err := testprotov1.NewEchoServiceClient(s.node.Client).Count(ctx, &testprotov1.CountRequest{Limit: s.limit})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.numbers = append(s.numbers, resp.GetNumber())
		if s.rest > 0 {
			time.Sleep(s.rest)
		}
	}
}

// broken returns what of the promise does not hold: the numbers come in order,
// none is left out, and there is an end that says what has happened.
func (s *readStream) broken(rough []time.Time) error {
	for i, n := range s.numbers {
		if n != int64(i+1) {
			return errors.New("a number is missing, or comes twice")
		}
	}
	all := int64(len(s.numbers)) == s.limit
	late := func(end time.Time) bool { return s.ended.After(end) && s.rest == 0 } // what is there may still be read
	switch {
	case s.ended.IsZero():
		return errors.New("has not ended")
	case s.err == nil:
		return when(!all || s.limit%2 == 1, "ended too early, or as if nothing were wrong")
	case s.over:
		return nil
	}
	gentle := undisturbed(rough, s.began, s.ended)
	switch status.Code(s.err) {
	case codes.Aborted:
		return when(!all || s.limit%2 == 0, "was not refused so")
	case codes.DeadlineExceeded:
		end := s.began.Add(s.timeout)
		return when(s.timeout == 0 && gentle || s.timeout > 0 && (s.ended.Before(end) || late(end)), "has not expired then")
	case codes.Canceled:
		return when(s.cancelled.IsZero() || s.ended.Before(s.cancelled) || late(s.cancelled), "was not cancelled then")
	}
	long := s.ended.Sub(s.began) > leavingTakes
	return when(!errors.Is(s.err, clusterclient.ErrOutcomeUnknown) || gentle && !long, "ended in no way that there is")
}
