package wire

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// movesField is "moves" in SessionRequest and SessionResponse.
	movesField protowire.Number = 2
	movesTag                    = byte(movesField)<<3 | byte(protowire.VarintType)

	// endPatience is how long a lane that has ended waits for its stream to say
	// why. The two end together, unless the lane alone was cut.
	endPatience = time.Second
)

// movesMessage is what is sent last on what is moved away from.
var movesMessage = []byte{movesTag, 1}

var (
	errLaneLost   = errors.New("wire: the lane of a stream has ended, and the stream has not")
	errMovedTwice = errors.New("wire: the other end moves to a lane that there is not")
)

// A Moving is a stream of gRPC that may move to a lane: a connection on which
// batches cost less, and take fewer goroutines on their way. The stream stays,
// for what gRPC does: it knows when the session ends, and why.
//
//	         leader                      follower
//	stream ◀─────────────────────────▶ stream
//	  │ Move                             │ Await
//	  │ moves ─────────────────────────▶ │ receives from the lane
//	 lane ─────────────────────────────▶ │
//	  │ receives from the lane ◀── moves │
//	 lane ◀───────────────────────────▶ lane
//	  │ receives from the stream ◀ moves │ CloseSend
//
// Each end says on the stream that it moves, before it sends anything over the
// lane. A follower does so only when its leader has: so neither moves to a lane
// that the other end has not got.
type Moving struct {
	Stream
	to   atomic.Pointer[lane] // nil until there is one
	may  atomic.Bool          // be moved to
	out  *lane                // what is sent over; nil stands for the stream; the sender's own
	in   *lane                // what is received from; likewise; the receiver's own
	back bool                 // it was moved back from; the receiver's own
}

// NewMoving returns s as a stream that may move.
func NewMoving(s Stream) *Moving { return &Moving{Stream: s} }

// Move moves the leader's end to conn. It is false, and conn is left to the
// caller, when that has a lane already.
func (m *Moving) Move(conn net.Conn) bool {
	ok := m.Await(conn)
	if ok {
		m.may.Store(true)
	}
	return ok
}

// Await makes the follower's end move to conn when the other end has. It is
// false, and conn is left to the caller, when that has a lane already.
func (m *Moving) Await(conn net.Conn) bool {
	if !m.to.CompareAndSwap(nil, newLane(conn)) {
		return false
	}
	context.AfterFunc(m.Context(), func() { _ = conn.Close() })
	return true
}

// HasLane reports whether there is a lane to move to, or that was moved to.
func (m *Moving) HasLane() bool { return m.to.Load() != nil }

// SendMsg sends a *[Batch].
func (m *Moving) SendMsg(msg any) error {
	if m.out == nil && m.may.Load() {
		if err := m.Stream.SendMsg(movesBatch()); err != nil {
			return err
		}
		m.out = m.to.Load()
	}
	if m.out == nil {
		return m.Stream.SendMsg(msg)
	}
	return m.sendOver(msg.(*Batch))
}

// Prompt reports whether SendNow may take anything.
func (m *Moving) Prompt() bool { return m.out != nil }

// SendNow returns how much of data has been sent over the lane, without waiting.
// What is left is to be sent before all else.
func (m *Moving) SendNow(data []byte) int { return m.out.sendNow(data) }

// sendOver sends b over the lane. Whoever receives finds out how the stream ends
// whose lane has, and is given the time to.
func (m *Moving) sendOver(b *Batch) error {
	err := m.out.send(b)
	if err == nil {
		return nil
	}
	late := time.NewTimer(endPatience)
	defer late.Stop()
	select {
	case <-m.Context().Done():
	case <-late.C:
	}
	return err
}

func movesBatch() *Batch {
	buf := buffers.Get(batchSize)
	*buf = append(*buf, movesMessage...)
	return &Batch{buf: buf}
}

// CloseSend makes the other end look at the stream again, behind all that was
// sent, for the end that that is about to have.
func (m *Moving) CloseSend() error {
	if m.out == nil {
		return nil
	}
	return m.sendOver(movesBatch())
}

// RecvMsg receives [*Frames].
func (m *Moving) RecvMsg(msg any) error {
	f := msg.(*Frames)
	if m.in == nil {
		err := m.Stream.RecvMsg(f)
		if err != nil || !f.move() {
			return err
		}
		if m.in = m.to.Load(); m.in == nil || m.back {
			return errMovedTwice
		}
		m.may.Store(true)
	}
	err := m.in.receive(f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errMoves):
		m.in, m.back = nil, true
		return m.RecvMsg(f)
	default:
		return m.end()
	}
}

// end returns how the stream ends whose lane has.
func (m *Moving) end() error {
	said := make(chan error, 1)
	go func() { // ends with the session, at the latest
		err := m.Stream.RecvMsg(new(Frames))
		if err == nil {
			err = errMovedTwice
		}
		said <- err
	}()
	late := time.NewTimer(endPatience)
	defer late.Stop()
	select {
	case err := <-said:
		return err
	case <-late.C:
		return errLaneLost
	}
}

// move reports whether f, which it releases then, says no more than that what
// comes next comes elsewhere.
func (f *Frames) move() bool {
	said := f.data
	if len(f.segments) == 1 {
		said = f.segments[0].ReadOnlyData()
	}
	moves := bytes.Equal(said, movesMessage)
	if moves {
		f.release()
	}
	return moves
}
