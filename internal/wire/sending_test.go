package wire

import (
	"bytes"
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// A hasty stream takes so many bytes at once, without waiting.
type hasty struct {
	*gated
	room int    // that there is
	took []byte // of what was sent without waiting
	slow bool   // it is not prompt
}

func (h *hasty) Prompt() bool { return !h.slow }

func (h *hasty) SendNow(data []byte) int {
	n := min(h.room, len(data))
	h.room -= n
	h.took = append(h.took, data[:n]...)
	return n
}

// calls sends calls whose methods are numbers, one by one.
func calls(w *Writer, first, last int, handed *atomic.Bool) {
	for i := first; i <= last; i++ {
		w.SendCall(&Call{ID: uint64(i), Method: strconv.Itoa(i), Payload: make([]byte, 100)}, handed)
	}
}

func numbered(first, last int) (all []string) {
	for i := first; i <= last; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// TestSentAtOnce: whoever is alone sends, and the writer does not come into it.
func TestSentAtOnce(t *testing.T) {
	h := &hasty{gated: newGated(t), room: 1 << 20}
	w := NewRequestWriter(h, nil)
	var handed atomic.Bool
	calls(w, 1, 3, &handed)
	require.Equal(t, numbered(1, 3), keysOf(t, new(Receiver), h.took))
	require.True(t, handed.Load())
	require.Empty(t, w.bell, "the writer was woken")
	require.Zero(t, w.Queued())
}

// TestSentInPart: what there is no room for the writer sends, before all else.
func TestSentInPart(t *testing.T) {
	for _, room := range []int{0, 1, 100, 200, batchSize, batchSize + 200, 2 * batchSize, 1 << 20} {
		bubble.Test(t, func(t *testing.T) {
			h := &hasty{gated: newGated(t), room: room}
			w := NewRequestWriter(h, nil)
			var handed atomic.Bool
			w.Expect(2)
			calls(w, 1, 300, &handed)
			w.Expect(-2)
			calls(w, 301, 303, &handed)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- w.Run(ctx) }()
			all := bytes.Clone(h.took)
			for synctest.Wait(); h.waiting.Load() > 0; synctest.Wait() {
				all = append(all, <-h.batches...)
			}
			require.Equal(t, numbered(1, 303), keysOf(t, new(Receiver), all), "with room for %d bytes", room)
			require.Zero(t, w.Queued())
			cancel()
			require.ErrorIs(t, <-ended, context.Canceled)
		})
	}
}

// TestLeftToTheWriter: somebody who is not alone, and whatever is more than a
// batch, does not hold up whoever calls.
func TestLeftToTheWriter(t *testing.T) {
	for name, prepare := range map[string]func(*Writer, *hasty){
		"many":              func(w *Writer, _ *hasty) { w.Expect(2) },
		"a stream":          func(_ *Writer, h *hasty) { h.slow = true },
		"a large frame":     func(w *Writer, _ *hasty) { w.Send(publish("large", 1<<20), nil) },
		"at the end":        func(w *Writer, _ *hasty) { w.Finish() },
		"while it is at it": func(w *Writer, _ *hasty) { w.turn.Lock() },
	} {
		t.Run(name, func(t *testing.T) {
			h := &hasty{gated: newGated(t), room: 1 << 20}
			w := NewRequestWriter(h, nil)
			prepare(w, h)
			select {
			case <-w.bell:
			default:
			}
			calls(w, 1, 1, new(atomic.Bool))
			require.Empty(t, h.took)
			require.Len(t, w.bell, 1, "the writer was not woken")
		})
	}
}

// TestSentWithWhatIsDue: what the pull function has goes along, and the writer
// does the rest when that fills the batch.
func TestSentWithWhatIsDue(t *testing.T) {
	h := &hasty{gated: newGated(t), room: 1 << 20}
	size := 10
	w := NewRequestWriter(h, func(b *Batch) { b.Add(publish("due", size)) })
	calls(w, 1, 1, new(atomic.Bool))
	require.Equal(t, []string{"1", "due"}, keysOf(t, new(Receiver), h.took))
	require.Empty(t, w.bell)
	size = batchSize
	calls(w, 2, 2, new(atomic.Bool))
	require.Len(t, w.bell, 1, "there may be more")
}
