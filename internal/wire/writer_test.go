package wire

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A gated stream lets the test take one batch after the other. SendMsg blocks
// until it does.
type gated struct {
	ctx     context.Context
	batches chan []byte
	waiting atomic.Int32 // batches to be taken
	err     error        // of the next SendMsg, if any
}

func newGated(t *testing.T) *gated { return &gated{ctx: t.Context(), batches: make(chan []byte)} }

func (g *gated) Context() context.Context { return g.ctx }
func (g *gated) RecvMsg(any) error        { return io.EOF }

func (g *gated) SendMsg(m any) error {
	if g.err != nil {
		return g.err
	}
	b := m.(*Batch)
	data := b.bytes()
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	select {
	case g.batches <- data:
		return nil
	case <-g.ctx.Done():
		return context.Cause(g.ctx)
	}
}

// publish returns a frame with size bytes of data.
func publish(key string, size int) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Publish{
		Publish: &clusterclientv1.Publish{Key: key, Data: bytes.Repeat([]byte{'d'}, size)},
	}}
}

// keysOf returns the keys of the frames that data, further batches on top of
// what receiver has had before, completes.
func keysOf(t *testing.T, receiver *Receiver, data []byte) (keys []string) {
	t.Helper()
	receiver.stream = &received{data: data}
	err := allRequests(receiver, func(c *Call) { keys = append(keys, c.Method) }, func(f *clusterclientv1.RequestFrame) {
		keys = append(keys, f.GetPublish().GetKey()+f.GetUnsubscribe().GetKey())
	})
	require.NoError(t, err)
	return keys
}

func TestWriterSharesBatches(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g, r := newGated(t), new(Receiver)
		w := NewRequestWriter(g, nil)
		var want []string
		for i := range 100 {
			want = append(want, strconv.Itoa(i))
			w.Send(publish(strconv.Itoa(i), 10), nil)
		}
		go func() { _ = w.Run(t.Context()) }()
		require.Equal(t, want, keysOf(t, r, <-g.batches), "frames of the first batch")

		for i := range 100 {
			w.Send(publish(strconv.Itoa(i), 1<<10), nil)
		}
		var got []string
		for len(got) < 100 {
			data := <-g.batches
			require.Less(t, len(data), batchSize+2<<10, "bytes of a batch")
			got = append(got, keysOf(t, r, data)...)
		}
		require.Equal(t, want, got, "frames of the other batches, in order")
	})
}

// TestWriterLetsSmallPassLarge has two large frames and a small one for each
// batch.
func TestWriterLetsSmallPassLarge(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g, r := newGated(t), new(Receiver)
		pulled := 0
		w := NewRequestWriter(g, func(b *Batch) {
			b.Add(publish("pulled "+strconv.Itoa(pulled), 1))
			pulled++
		})
		large := new(atomic.Bool)
		w.Send(publish("large", 10*pieceSize-100), large)
		w.Send(publish("larger", 20*pieceSize-100), nil)
		w.SendAfter(large, publish("after large", 1))
		go func() { _ = w.Run(t.Context()) }()
		var completed []string
		for i := range 30 {
			w.Send(publish("small "+strconv.Itoa(i), 1), nil)
			synctest.Wait()
			require.Equal(t, i >= 18, large.Load(), "large counts as handed while batch %d is being taken", i)
			data := <-g.batches
			require.Less(t, len(data), pieceSize+batchSize, "bytes of batch %d", i)
			for _, key := range keysOf(t, r, data) {
				if !strings.HasPrefix(key, "small") && !strings.HasPrefix(key, "pulled") {
					completed = append(completed, key+" in batch "+strconv.Itoa(i))
				}
			}
		}
		require.Equal(t, []string{"large in batch 18", "after large in batch 19", "larger in batch 29"}, completed)
		synctest.Wait()
		require.GreaterOrEqual(t, pulled, 30, "times that the writer asked for what is due")
	})
}

// TestWriterHanded checks that a frame counts as handed just before the
// transport gets it, and not while it is queued.
func TestWriterHanded(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g := newGated(t)
		w := NewRequestWriter(g, nil)
		var first, second atomic.Bool
		w.Send(publish("first", 1), &first)
		require.False(t, first.Load(), "handed before Run")
		go func() { _ = w.Run(t.Context()) }()
		synctest.Wait()
		require.True(t, first.Load(), "handed while the transport is taking it")
		w.SendCall(&Call{ID: 1, Method: "second"}, &second)
		synctest.Wait()
		require.False(t, second.Load(), "handed while the one before is being taken")
		<-g.batches
		synctest.Wait()
		require.True(t, second.Load(), "handed when the one before was taken")
	})
}

func TestWriterFinish(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g, r := newGated(t), new(Receiver)
		w := NewRequestWriter(g, func(*Batch) { t.Error("pull was called after Finish") })
		w.Send(publish("small", 1), nil)
		w.Send(publish("large", 3*chunkSize), nil)
		w.Finish()
		ended := make(chan error, 1)
		go func() { ended <- w.Run(t.Context()) }()
		var got []string
		for len(got) < 2 {
			synctest.Wait()
			require.Empty(t, ended, "Run has returned before all was sent")
			got = append(got, keysOf(t, r, <-g.batches)...)
		}
		require.Equal(t, []string{"small", "large"}, got)
		require.NoError(t, <-ended)
	})
}

func TestWriterEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		w := NewRequestWriter(newGated(t), nil)
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		require.Empty(t, ended, "Run has returned while nothing is due")
		cancel(io.ErrUnexpectedEOF)
		require.Equal(t, io.ErrUnexpectedEOF, <-ended)

		g := newGated(t)
		g.err = io.ErrClosedPipe
		w = NewRequestWriter(g, nil)
		w.Send(publish("k", 1), nil)
		require.ErrorIs(t, w.Run(t.Context()), io.ErrClosedPipe)
	})
}

// TestWriterSendValue checks what becomes of values, which are encoded once
// for all.
func TestWriterSendValue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g := newGated(t)
		var w *Writer
		var done atomic.Bool
		sizes := []int{0, 1, 5 * chunkSize}
		w = NewResponseWriter(g, func(b *Batch) {
			for i, size := range sizes {
				head := (&Head{Key: strconv.Itoa(i)}).Encode(size)
				large := w.SendValue(b, head, make([]byte, size), func() { done.Store(true) })
				require.Equal(t, size > chunkSize, large, "SendValue of %d bytes says large", size)
			}
			sizes = nil
		})
		w.Wake()
		go func() { _ = w.Run(t.Context()) }()
		r, got := new(Receiver), map[string]int{}
		for len(got) < 3 {
			synctest.Wait()
			require.False(t, done.Load(), "done before the last piece was taken")
			r.stream = &received{data: <-g.batches}
			require.NoError(t, allResponses(r, func(*Reply) {}, func(f *clusterclientv1.ResponseFrame) {
				got[f.GetValue().GetKey()] = len(f.GetValue().GetData())
			}))
		}
		synctest.Wait()
		require.True(t, done.Load(), "done after the last piece was taken")
		require.Equal(t, map[string]int{"0": 0, "1": 1, "2": 5 * chunkSize}, got, "bytes of each value")
	})
}
