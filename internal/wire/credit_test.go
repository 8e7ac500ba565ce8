package wire

import (
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Pieces are sent a window ahead of what the receiver has taken, and no
// further; all else passes.
func TestWriterLimitsPieces(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const ahead = pieceWindow/pieceSize + 1 // the last one goes over
		g, r := newGated(t), new(Receiver)
		w := NewResponseWriter(g, nil)
		w.LimitPieces()
		w.Send(publish("large", 10*pieceWindow), nil)
		go func() { _ = w.Run(t.Context()) }()
		pieces := func() (n int) {
			for {
				synctest.Wait()
				if g.waiting.Load() == 0 {
					return n
				}
				require.NotEmpty(t, <-g.batches)
				n++
			}
		}
		require.Equal(t, ahead, pieces(), "pieces sent before any was taken")
		for i := range 5 {
			small := "small " + strconv.Itoa(i)
			w.Send(publish(small, 1), nil)
			require.Equal(t, []string{small}, keysOf(t, r, <-g.batches), "sent while there is no credit")
		}
		w.Taken(ahead * pieceSize)
		require.Equal(t, ahead, pieces(), "pieces sent when all were taken")
		w.Taken(1 << 60)
		require.LessOrEqual(t, pieces(), ahead, "pieces sent when the receiver claims to have taken more than there were")
		w.Finish()
		require.Greater(t, pieces(), ahead, "pieces sent when the receiver has said its last")
	})
}

// The receiver tells what it takes often enough for the sender never to stop.
func TestReceiverTellsWhatItTakes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		there, back := newGated(t), newGated(t)
		leader, follower := NewResponseWriter(there, nil), NewRequestWriter(back, nil)
		leader.LimitPieces()
		const size = 10 * pieceWindow
		leader.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Reply{
			Reply: &clusterclientv1.Reply{Id: 1, Payload: make([]byte, size)},
		}}, nil)
		for _, w := range []*Writer{leader, follower} {
			go func() { _ = w.Run(t.Context()) }()
		}
		in, heard := &received{}, &received{}
		r, told := NewReceiver(in), NewReceiver(heard)
		done := false
		for !done {
			in.data, in.over = <-there.batches, false
			require.NoError(t, allResponses(r, func(p *Reply) { done = len(p.Payload) == size }, func(*clusterclientv1.ResponseFrame) {}))
			r.TellTaken(follower)
			synctest.Wait()
			if back.waiting.Load() > 0 {
				heard.data, heard.over = <-back.batches, false
				require.NoError(t, allRequests(told, func(*Call) {}, func(f *clusterclientv1.RequestFrame) {
					require.GreaterOrEqual(t, f.GetTaken().GetBytes(), uint64(takenEvery))
					leader.Taken(f.GetTaken().GetBytes())
				}))
				synctest.Wait()
			}
			require.True(t, done || there.waiting.Load() > 0, "the sender has stopped")
		}
	})
}
