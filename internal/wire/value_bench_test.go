package wire

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// updates returns a batch as a leader sends it: values of 1,000 bytes.
func updates(tb testing.TB, n int) []byte {
	tb.Helper()
	batch := new(clusterclientv1.SessionResponse)
	for i := range n {
		batch.Frames = append(batch.Frames, &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{Value: &clusterclientv1.Value{
			Key: strconv.Itoa(i), Revision: &clusterclientv1.Revision{Term: 1, Sequence: uint64(i)}, Version: []byte("1234"),
			Freshness: &clusterclientv1.Freshness{Since: 1e18, Origin: clusterclientv1.Origin_ORIGIN_LIVE}, Data: make([]byte, 1000),
		}}})
	}
	data, err := proto.Marshal(batch)
	require.NoError(tb, err)
	return data
}

// again is a stream on which one batch arrives any number of times.
type again struct {
	received
	batch []byte
}

func (a *again) RecvMsg(m any) error {
	m.(*Frames).data = a.batch
	return nil
}

// takeValues receives a batch of values and keeps none of them.
func takeValues(tb testing.TB, r *Receiver) {
	if err := allResponses(r, nil, nil); err != nil {
		tb.Fatal(err)
	}
}

// TestAllocsPerValue: to take values apart allocates nothing.
func TestAllocsPerValue(t *testing.T) {
	r := NewReceiver(&again{batch: updates(t, 16)})
	got := 0
	r.Values(func(v *Value) { got += len(v.Key) })
	takeValues(t, r)
	require.Zero(t, testing.AllocsPerRun(100, func() { takeValues(t, r) }), "for 16 values")
	require.Positive(t, got)
}

func BenchmarkReceiveValues(b *testing.B) {
	r := NewReceiver(&again{batch: updates(b, 16)})
	var kept []byte
	r.Values(func(v *Value) { kept = v.Data() })
	b.SetBytes(int64(len(updates(b, 16))))
	b.ReportAllocs()
	for b.Loop() {
		takeValues(b, r)
	}
	require.Len(b, kept, 1000)
}

func BenchmarkSendValues(b *testing.B) {
	w := NewResponseWriter(nil, nil)
	value := Head{Key: "key", Revision: Revision{Term: 1, Seq: 2}}
	data := make([]byte, 1000)
	head := value.Encode(len(data))
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		batch, _, _ := w.next()
		for !batch.Full() {
			w.SendValue(batch, head, data, nil)
		}
		batch.release()
		w.recycle(batch)
	}
}

// BenchmarkJoin has a value of 64 MiB come in pieces.
func BenchmarkJoin(b *testing.B) {
	const size = 64 << 20
	piece := bytes.Repeat([]byte{'x'}, pieceSize)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		var a Assembler
		var whole []byte
		for whole == nil {
			var err error
			if whole, err = a.Add(chunk{id: 1, size: size, data: piece}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
