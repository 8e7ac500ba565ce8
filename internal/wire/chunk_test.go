package wire

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

func chunkOf(id, size uint64, data string) chunk { return chunk{id, size, []byte(data)} }

func TestAssembler(t *testing.T) {
	var a Assembler
	tests := []struct {
		chunk chunk
		want  string // the whole, "" while there is none
	}{
		{chunkOf(1, 4, "ab"), ""},
		{chunkOf(2, 3, "x"), ""},
		{chunkOf(1, 4, ""), ""},
		{chunkOf(2, 3, "yz"), "xyz"},
		{chunkOf(3, 1, "q"), "q"},
		{chunkOf(1, 4, "cd"), "abcd"},
		{chunkOf(1, 2, "ef"), "ef"}, // the number is free again
	}
	for i, test := range tests {
		whole, err := a.Add(test.chunk)
		require.NoError(t, err, "chunk %d", i)
		require.Equal(t, test.want, string(whole), "chunk %d", i)
		require.Equal(t, test.want == "", whole == nil, "chunk %d completes nothing", i)
	}
	require.Empty(t, a.open, "frames under way")
}

func TestAssemblerRefuses(t *testing.T) {
	tests := []struct {
		name   string
		chunks []chunk
		want   string // of the last one
	}{
		{"too large", []chunk{chunkOf(1, MaxFrame+1, "")}, "wire: a frame of 68157441 bytes, at most 68157440 are allowed"},
		{"huge", []chunk{chunkOf(1, 1<<63, "a")}, "wire: a frame of 9223372036854775808 bytes, at most 68157440 are allowed"},
		{"more than it said", []chunk{chunkOf(1, 2, "abc")}, "wire: chunks of 3 bytes for a frame of 2"},
		{"more in all", []chunk{chunkOf(1, 3, "ab"), chunkOf(1, 3, "cd")}, "wire: chunks of 4 bytes for a frame of 3"},
		{"shrinks", []chunk{chunkOf(1, 5, "abc"), chunkOf(1, 2, "")}, "wire: chunks of one frame say that it has 5 bytes, and 2"},
		{"grows", []chunk{chunkOf(1, 3, "ab"), chunkOf(1, 1000, "c")}, "wire: chunks of one frame say that it has 3 bytes, and 1000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var a Assembler
			last := len(test.chunks) - 1
			for _, c := range test.chunks[:last] {
				_, err := a.Add(c)
				require.NoError(t, err)
			}
			_, err := a.Add(test.chunks[last])
			require.EqualError(t, err, test.want)
		})
	}

	var a Assembler
	for id := range uint64(maxOpen) {
		_, err := a.Add(chunkOf(id, 2, "a"))
		require.NoError(t, err, "frame %d", id)
	}
	_, err := a.Add(chunkOf(maxOpen, 2, "a"))
	require.EqualError(t, err, "wire: more than 1024 large frames at once")
	whole, err := a.Add(chunkOf(7, 2, "b"))
	require.NoError(t, err, "one of those under way")
	require.Equal(t, "ab", string(whole))
}

// TestAssemblerTrustsNoSize announces much and sends little.
func TestAssemblerTrustsNoSize(t *testing.T) {
	var a Assembler
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for id := range uint64(maxOpen) {
		_, err := a.Add(chunkOf(id, maxLarge/maxOpen, "a"))
		require.NoError(t, err)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "bytes allocated for 1024 frames of which 1 byte has come")

	a = Assembler{}
	for id := range uint64(4) {
		_, err := a.Add(chunkOf(id, MaxFrame, "a"))
		require.NoError(t, err)
	}
	_, err := a.Add(chunkOf(4, 2, "a"))
	require.EqualError(t, err, "wire: large frames of more than 272629760 bytes at once")
}

// FuzzAssembler feeds a session whatever comes, in two batches, and checks that
// it neither panics nor keeps more than it was sent.
func FuzzAssembler(f *testing.F) {
	batch := func(frames ...*clusterclientv1.RequestFrame) []byte {
		data, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: frames})
		require.NoError(f, err)
		return data
	}
	piece := func(id, size uint64, data []byte) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Chunk{Chunk: &clusterclientv1.Chunk{Id: id, Size: size, Data: data}}}
	}
	whole, err := proto.Marshal(publish("k", 10))
	require.NoError(f, err)
	nested, err := proto.Marshal(piece(2, uint64(len(whole)), whole))
	require.NoError(f, err)
	f.Add(batch(piece(1, uint64(len(whole)), whole[:3])), batch(piece(1, uint64(len(whole)), whole[3:])))
	f.Add(batch(piece(1, uint64(len(nested)), nested)), batch(publish("k", 1)))
	f.Add(batch(piece(1, 2, []byte{0xff}), piece(1, 2, []byte{0xff})), []byte{0xff})
	f.Add(batch(piece(1, 0, nil)), batch(piece(1, MaxFrame, nil)))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		r := new(Receiver)
		for _, data := range [][]byte{first, second} {
			r.stream = &received{data: bytes.Clone(data)}
			if allRequests(r, func(*Call) {}, func(*clusterclientv1.RequestFrame) {}) != nil {
				break
			}
		}
		kept := 0
		for _, have := range r.assembler.open {
			kept += have.have.Len()
		}
		require.LessOrEqual(t, kept, len(first)+len(second), "bytes kept")
	})
}
