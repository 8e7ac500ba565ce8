package wire

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A said conn is one whose other end has said what r reads.
type said struct {
	net.Conn
	r io.Reader
}

func (s said) Read(p []byte) (int, error) { return s.r.Read(p) }

// A cut reader returns at most sizes bytes at a time, of each in turn.
type cutReader struct {
	r     io.Reader
	sizes []byte
	turn  int
}

func (c *cutReader) Read(p []byte) (int, error) {
	if len(c.sizes) > 0 {
		p = p[:min(len(p), max(1, int(c.sizes[c.turn%len(c.sizes)])))]
		c.turn++
	}
	return c.r.Read(p)
}

// laneOf returns a lane on which data comes.
func laneOf(r io.Reader) *lane { return newLane(said{r: r}) }

// allOf returns the frames that come on l, and what ends it.
func allOf(l *lane) (all [][]byte, err error) {
	var f Frames
	for {
		if err := l.receive(&f); err != nil {
			return all, err
		}
		frames, err := framesOf(&f)
		all = append(all, frames...)
		if err != nil {
			return all, err
		}
		f.release()
	}
}

// published is a batch of frames of some sizes.
func published(t testing.TB, sizes ...int) []byte {
	t.Helper()
	var batch clusterclientv1.SessionRequest
	for _, size := range sizes {
		batch.Frames = append(batch.Frames, publish("key", size))
	}
	data, err := proto.Marshal(&batch)
	require.NoError(t, err)
	return data
}

// TestLaneCutsAnywhere: where reads begin and end, and batches, means nothing.
func TestLaneCutsAnywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var data []byte
	for range 200 {
		sizes := make([]int, r.IntN(20))
		for i := range sizes {
			sizes[i] = r.IntN([]int{10, 1000, 10_000, 3 * laneBuffer}[r.IntN(4)])
		}
		data = append(data, published(t, sizes...)...)
	}
	want, err := framesOf(&Frames{data: data})
	require.NoError(t, err)
	for name, reader := range map[string]io.Reader{
		"as it comes":  bytes.NewReader(data),
		"half of each": iotest.HalfReader(bytes.NewReader(data)),
		"few at once":  &cutReader{r: bytes.NewReader(data), sizes: []byte{1, 255, 3, 100}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := allOf(laneOf(reader))
			require.ErrorIs(t, err, io.EOF)
			require.Len(t, got, len(want))
			for i := range got {
				require.True(t, bytes.Equal(want[i], got[i]), "frame %d", i)
			}
		})
	}
}

// TestLaneThatWaitsIsSmall: a lane on which nothing comes does not keep the
// memory that much took.
func TestLaneThatWaitsIsSmall(t *testing.T) {
	own, other := net.Pipe()
	defer own.Close()
	go func() {
		_, _ = other.Write(published(t, make([]int, 10_000)...))
		_, _ = other.Write(published(t, 1))
		_ = other.Close()
	}()
	l := newLane(own)
	most := 0
	for {
		var f Frames
		if l.receive(&f) != nil {
			break
		}
		most = max(most, l.size)
		f.release()
	}
	require.Equal(t, laneBuffer, most, "while there is much")
	require.Equal(t, smallBuffer, l.size, "at last")
}

func TestLaneRefuses(t *testing.T) {
	for name, data := range map[string][]byte{
		"no field":      {0},
		"no number":     bytes.Repeat([]byte{0xff}, 20),
		"a group's end": {framesTag | byte(protowire.EndGroupType)},
		"a large frame": protowire.AppendVarint([]byte{framesTag | byte(protowire.BytesType)}, MaxFrame+1),
	} {
		t.Run(name, func(t *testing.T) {
			good := published(t, 1, 2)
			got, err := allOf(laneOf(bytes.NewReader(append(good, data...))))
			require.Len(t, got, 2, "what came before")
			require.ErrorContains(t, err, "wire: a batch does not decode")
		})
	}
}

const framesTag = byte(framesField) << 3

// FuzzLane reads anything in pieces of any size, and must find in it what is in
// the whole.
func FuzzLane(f *testing.F) {
	batch, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: requests()})
	require.NoError(f, err)
	for _, sizes := range [][]byte{nil, {1}, {2}, {3, 1}, {200}} {
		f.Add(batch, sizes)
		f.Add(append(batch[:len(batch):len(batch)], movesMessage...), sizes)
		f.Add(batch[:len(batch)-1], sizes)
		f.Add(protowire.AppendVarint(protowire.AppendTag(nil, framesField, protowire.BytesType), 1<<60), sizes)
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte) {
		if len(data) > 4096 {
			return
		}
		got, err := allOf(laneOf(&cutReader{r: bytes.NewReader(data), sizes: sizes}))
		require.Error(t, err)
		var whole clusterclientv1.SessionRequest
		if errors.Is(err, io.EOF) && proto.Unmarshal(data, &whole) == nil {
			require.Len(t, got, len(whole.GetFrames()))
		}
		want, _ := framesOf(&Frames{data: data})
		require.LessOrEqual(t, len(got), len(want))
		for i := range got {
			require.Equal(t, want[i], got[i])
		}
	})
}
