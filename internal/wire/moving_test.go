package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A moved pair is the two ends of a stream, and of a lane.
type movedPair struct {
	leader, follower *Moving
	ends             [2]*PipeEnd
	lane             [2]net.Conn
	bytes            *countedConn // that the leader has sent over the lane
}

type countedConn struct {
	net.Conn
	written int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.written += len(p)
	return c.Conn.Write(p)
}

func newMovedPair(ctx context.Context) *movedPair {
	a, b := Pipe(ctx)
	c, d := net.Pipe()
	return &movedPair{
		leader: NewMoving(a), follower: NewMoving(b), ends: [2]*PipeEnd{a, b}, lane: [2]net.Conn{c, d},
		bytes: &countedConn{Conn: c},
	}
}

// move gives both ends the lane, the follower first, as it is the one that dials.
func (p *movedPair) move() { _, _ = p.follower.Await(p.lane[1]), p.leader.Move(p.bytes) }

// sendNumbered sends batches with the numbers from 1 to last as keys.
func sendNumbered(s Stream, last int) error {
	for i := 1; i <= last; i++ {
		b := &Batch{buf: buffers.Get(batchSize)}
		b.Add(publish(strconv.Itoa(i), i%1000))
		if err := s.SendMsg(b); err != nil {
			return err
		}
	}
	return nil
}

// receiveNumbered receives the numbers from first to last.
func receiveNumbered(t *testing.T, s Stream, first, last int) {
	t.Helper()
	r := NewReceiver(s)
	for i := first; i <= last; {
		err := allRequests(r, nil, func(f *clusterclientv1.RequestFrame) {
			require.Equal(t, strconv.Itoa(i), f.GetPublish().GetKey())
			i++
		})
		require.NoError(t, err)
	}
}

// TestMovesAtOnce: whoever moves while there is much under way, in both
// directions, loses nothing and keeps the order.
func TestMovesAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newMovedPair(t.Context())
		const n = 2000
		sent := make(chan error, 2)
		go func() { sent <- sendNumbered(p.leader, n) }()
		go func() { sent <- sendNumbered(p.follower, n) }()
		received := make(chan struct{})
		go func() { receiveNumbered(t, p.leader, 1, n); close(received) }()
		receiveNumbered(t, p.follower, 1, n/10)
		p.move()
		receiveNumbered(t, p.follower, n/10+1, n)
		<-received
		require.NoError(t, errors.Join(<-sent, <-sent))
		require.Positive(t, p.bytes.written, "what the leader has sent over the lane")
	})
}

// TestFollowerMovesSecond: until its leader has moved, which may never have got
// the lane, a follower sends over the stream.
func TestFollowerMovesSecond(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newMovedPair(t.Context())
		defer p.ends[0].Close()
		require.True(t, p.follower.Await(p.lane[1]))
		require.NoError(t, sendNumbered(p.follower, 3))
		receiveNumbered(t, p.leader, 1, 3)
	})
}

// TestLaneIsTakenOnce: a second one is left to whoever has it.
func TestLaneIsTakenOnce(t *testing.T) {
	p := newMovedPair(t.Context())
	defer p.ends[0].Close()
	p.move()
	other, _ := net.Pipe()
	require.False(t, p.leader.Move(other))
	require.False(t, p.follower.Await(other))
	require.NoError(t, other.SetDeadline(time.Now()), "which is still open")
}

// TestMovedStreamEnds: with what the follower said last, when it takes its
// leave, and with what the stream says, when that is lost.
func TestMovedStreamEnds(t *testing.T) {
	moved := func(t *testing.T) *movedPair {
		p := newMovedPair(t.Context())
		p.move()
		go func() { _ = sendNumbered(p.leader, 1) }()
		receiveNumbered(t, p.follower, 1, 1)
		go func() { _ = sendNumbered(p.follower, 1) }()
		receiveNumbered(t, p.leader, 1, 1)
		return p
	}
	t.Run("in order", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			p := moved(t)
			go func() {
				_ = sendNumbered(p.follower, 100)
				_ = errors.Join(p.follower.CloseSend(), p.ends[1].CloseSend())
			}()
			receiveNumbered(t, p.leader, 1, 100)
			require.Equal(t, io.EOF, p.leader.RecvMsg(new(Frames)))
		})
	})
	t.Run("by the stream", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			p := moved(t)
			blocked := make(chan error, 2)
			go func() { blocked <- p.leader.RecvMsg(new(Frames)) }()
			go func() { blocked <- sendNumbered(p.leader, 1000) }()
			synctest.Wait()
			require.Empty(t, blocked)
			p.ends[1].Close()
			require.Error(t, <-blocked)
			require.Error(t, <-blocked)
		})
	})
	t.Run("by the lane alone", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			p := moved(t)
			start := time.Now()
			require.NoError(t, p.lane[0].Close())
			require.ErrorIs(t, p.leader.RecvMsg(new(Frames)), errLaneLost)
			require.Equal(t, endPatience, time.Since(start))
			require.ErrorIs(t, p.follower.RecvMsg(new(Frames)), errLaneLost)
			p.ends[0].Close()
		})
	})
}

// TestMovesNowhere: nobody moves to a lane that there is not, or back and forth.
func TestMovesNowhere(t *testing.T) {
	a, b := Pipe(t.Context())
	defer a.Close()
	for range 2 {
		require.NoError(t, a.SendMsg(movesBatch()))
	}
	m := NewMoving(b)
	require.ErrorIs(t, m.RecvMsg(new(Frames)), errMovedTwice)
	require.True(t, m.Await(newSilentConn(t)))
	m.back = true
	require.ErrorIs(t, m.RecvMsg(new(Frames)), errMovedTwice)
}

func newSilentConn(t *testing.T) net.Conn {
	own, other := net.Pipe()
	t.Cleanup(func() { _ = errors.Join(own.Close(), other.Close()) })
	return own
}
