package wire

import (
	"bytes"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A counted pool knows how many of its buffers are out.
type counted struct{ out int }

func (c *counted) Get(length int) *[]byte {
	b := make([]byte, length)
	return &b
}

func (c *counted) Put(b *[]byte) {
	c.out--
	clear((*b)[:cap(*b)]) // who reads it afterwards reads rubbish
}

// segmented returns data cut into pieces of these sizes, again and again, in
// buffers that are counted.
func (c *counted) segmented(data []byte, sizes []byte) (s mem.BufferSlice) {
	for i := 0; len(data) > 0; i++ {
		n := len(data)
		if len(sizes) > 0 {
			n = min(n, max(1, int(sizes[i%len(sizes)])))
		}
		buf := append(make([]byte, 0, 2048), data[:n]...) // smaller ones are not pooled
		c.out++
		s, data = append(s, mem.NewBuffer(&buf, c)), data[n:]
	}
	return s
}

// framesOf reads all frames of f.
func framesOf(f *Frames) (frames [][]byte, err error) {
	for {
		frame, err := f.next()
		if frame == nil {
			return frames, err
		}
		frames = append(frames, bytes.Clone(frame))
	}
}

// FuzzSegments reads a batch whole and in pieces, and must find the same in it.
func FuzzSegments(f *testing.F) {
	batch, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: requests()})
	require.NoError(f, err)
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 300))
	for _, sizes := range [][]byte{nil, {1}, {2}, {3, 1}, {200}} {
		f.Add(batch, sizes)
		f.Add(append(bytes.Clone(unknown), batch...), sizes)
		f.Add(batch[:len(batch)-1], sizes)
		f.Add(protowire.AppendVarint(protowire.AppendTag(nil, framesField, protowire.BytesType), 1<<60), sizes)
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		if len(data) > 4096 {
			return
		}
		want, wantErr := framesOf(&Frames{data: data})
		var pool counted
		var got Frames
		for range 2 { // the second time what the first one left is used again
			segments := pool.segmented(data, sizes)
			require.NoError(t, Codec{}.Unmarshal(segments, &got))
			segments.Free() // as gRPC does
			frames, err := framesOf(&got)
			require.Equal(t, want, frames)
			require.Equal(t, wantErr, err)
			got.release()
			require.Zero(t, pool.out, "buffers that were not given back")
		}
	})
}

func TestWhatIsKeptOutlivesItsBatch(t *testing.T) {
	payload := bytes.Repeat([]byte("payload"), 100)
	batch, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{
		{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{Id: 1, Payload: payload}}},
		{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{Id: 2, Payload: payload}}},
	}})
	require.NoError(t, err)
	for _, size := range []byte{1, 2, 100, 255} {
		var pool counted
		segments := pool.segmented(batch, []byte{size})
		r := NewReceiver(&received{segments: segments})
		var kept []Call
		require.NoError(t, allRequests(r, func(c *Call) {
			c.Keep()
			kept = append(kept, *c)
		}, nil))
		require.Error(t, r.Receive(), "the end, which gives the batch back")
		require.Len(t, kept, 2)
		for i := range kept {
			require.Equal(t, payload, kept[i].Payload)
			kept[i].Release()
		}
		require.Zero(t, pool.out)
	}
}

// A message of gRPC has five bytes in front.
func TestPieceFitsIntoOneSegment(t *testing.T) {
	buf := []byte{}
	b := &Batch{buf: &buf}
	b.addChunk(responseChunkField, math.MaxUint64, MaxFrame, nil, make([]byte, pieceSize))
	require.LessOrEqual(t, 5+len(b.bytes()), dataFrame)
}

func TestFramePool(t *testing.T) {
	p := FramePool()
	for _, length := range []int{1, smallBuffer, smallBuffer + 1, dataFrame, dataFrame + 1, MaxFrame} {
		b := p.Get(length)
		require.Len(t, *b, length)
		*b = (*b)[:1] // as gRPC does with what is padded
		p.Put(b)
		require.Len(t, *p.Get(length), length)
	}
}
