package wire

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// A sender begins no more large frames at once than a receiver puts together.
func TestWriterBeginsWhatFits(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g := newGated(t)
		w := NewRequestWriter(g, nil)
		const size = MaxFrame / 2 // with its overhead nine do not fit, eight may
		data := make([]byte, size)
		for range 12 {
			w.sendLarge(&largeFrame{data: data})
		}
		require.Len(t, w.large, 8)
		require.Equal(t, 12, w.Queued())
		var a Assembler
		go func() { _ = w.Run(t.Context()) }()
		for whole := 0; whole < 12; {
			var batch Frames
			batch.data = <-g.batches
			for {
				frame, err := batch.next()
				require.NoError(t, err)
				if frame == nil {
					break
				}
				var c chunk
				body, ok := sole(frame, requestChunkField)
				require.True(t, ok)
				require.NoError(t, c.parse(body))
				got, err := a.Add(c)
				require.NoError(t, err)
				if got != nil {
					whole++
				}
			}
		}
		require.Zero(t, a.bytes)
		synctest.Wait()
		require.Zero(t, w.begun)
		require.Zero(t, w.largeBytes)
	})
}

func TestWriterRoom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g := newGated(t)
		w := NewRequestWriter(g, nil)
		require.NoError(t, w.Room(t.Context()))
		for len(w.queue) <= maxQueue {
			w.Send(publish("k", batchSize/2), nil)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(io.ErrUnexpectedEOF)
		require.ErrorIs(t, w.Room(ctx), io.ErrUnexpectedEOF)

		room := make(chan error, 1)
		go func() { room <- w.Room(t.Context()) }()
		synctest.Wait()
		require.Empty(t, room)
		ctx, cancel = context.WithCancelCause(t.Context())
		go func() { _ = w.Run(ctx) }()
		<-g.batches
		require.NoError(t, <-room)
		cancel(errors.New("done"))
		synctest.Wait()
	})
}
