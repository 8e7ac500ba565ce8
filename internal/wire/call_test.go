package wire

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// perBatch is how many calls share a message, about, when many are under way.
const perBatch = 100

// BenchmarkCalls writes calls in batches and reads them again, one for each
// iteration.
func BenchmarkCalls(b *testing.B) {
	b.ReportAllocs()
	w := NewRequestWriter(nil, nil)
	in := &received{}
	r := NewReceiver(in)
	call := Call{ID: 1 << 40, Method: "echo", Codec: "bytes", Deadline: 1 << 60, Payload: make([]byte, 100)}
	var handed atomic.Bool
	for n := 0; b.Loop(); n++ {
		w.SendCall(&call, &handed)
		if n%perBatch == 0 {
			readBatches(b, w, in, func() error {
				return allRequests(r, func(*Call) {}, func(*clusterclientv1.RequestFrame) {})
			})
		}
	}
}

// BenchmarkReplies does the same with replies.
func BenchmarkReplies(b *testing.B) {
	b.ReportAllocs()
	w := NewResponseWriter(nil, nil)
	in := &received{}
	r := NewReceiver(in)
	reply := Reply{ID: 1 << 40, Codec: "bytes", Payload: make([]byte, 100)}
	for n := 0; b.Loop(); n++ {
		w.SendReply(&reply)
		if n%perBatch == 0 {
			readBatches(b, w, in, func() error {
				return allResponses(r, func(*Reply) {}, func(*clusterclientv1.ResponseFrame) {})
			})
		}
	}
}

// readBatches moves what w has queued to in, and reads it.
func readBatches(b *testing.B, w *Writer, in *received, read func() error) {
	b.Helper()
	for {
		batch, _, _ := w.next()
		if batch.empty() {
			batch.release()
			w.recycle(batch)
			return
		}
		in.data, in.over = *batch.buf, false
		if err := read(); err != nil {
			b.Fatal(err)
		}
		batch.release()
		w.recycle(batch)
	}
}

// Callers that were answered together call again together.
func TestWriterWaitsForCallers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		g, r := newGated(t), new(Receiver)
		w := NewRequestWriter(g, nil)
		go func() { _ = w.Run(t.Context()) }()
		synctest.Wait()
		send := func(method string, payload int) {
			w.SendCall(&Call{ID: 1, Method: method, Payload: make([]byte, payload)}, new(atomic.Bool))
			synctest.Wait()
		}
		for range 3 {
			w.ExpectCallers(1)
		}
		w.CallerCame()
		send("first", 1)
		w.CallerCame() // and does not call again
		send("second", 1)
		require.Zero(t, g.waiting.Load(), "a batch was sent while a caller was expected")
		w.CallerCame()
		synctest.Wait()
		require.Equal(t, []string{"first", "second"}, keysOf(t, r, <-g.batches))
		send("alone", 1)
		require.Equal(t, []string{"alone"}, keysOf(t, r, <-g.batches))

		w.ExpectCallers(1)
		send("large", batchSize)
		require.Equal(t, []string{"large"}, keysOf(t, r, <-g.batches), "a full batch, whoever is expected")
	})
}
