package wire

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A follows receives batches as a follower does, and notes what it is given.
type follows struct {
	t    *testing.T
	r    *Receiver
	news []string // values and others
	told []uint64 // replies
}

func newFollows(t *testing.T) *follows {
	f := &follows{t: t, r: NewReceiver(nil)}
	f.r.Values(func(v *Value) { f.news = append(f.news, fmt.Sprintf("%s of %d bytes", v.Key, len(v.Data()))) })
	return f
}

func (f *follows) receive(frames ...*clusterclientv1.ResponseFrame) error {
	f.t.Helper()
	data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: frames})
	require.NoError(f.t, err)
	f.r.stream = &received{data: data}
	return allResponses(f.r,
		func(p *Reply) { f.told = append(f.told, p.ID) },
		func(o *clusterclientv1.ResponseFrame) { f.news = append(f.news, "state of "+o.GetState().GetKey()) },
	)
}

func valueFrame(key string, size int) *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{
		Value: &clusterclientv1.Value{Key: key, Data: bytes.Repeat([]byte{'v'}, size)},
	}}
}

func stateFrame(key string) *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{Key: key}}}
}

func replyFrame(id uint64) *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: &clusterclientv1.Reply{Id: id}}}
}

// pieces cuts a frame in n.
func pieces(t *testing.T, id uint64, frame *clusterclientv1.ResponseFrame, n int) (cut []*clusterclientv1.ResponseFrame) {
	t.Helper()
	data, err := proto.Marshal(frame)
	require.NoError(t, err)
	size := uint64(len(data))
	for i := range n {
		piece := data[i*len(data)/n : (i+1)*len(data)/n]
		cut = append(cut, &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Chunk{
			Chunk: &clusterclientv1.Chunk{Id: id, Size: size, Data: piece},
		}})
	}
	return cut
}

// TestLargeValuesKeepTheirPlace has frames of all kinds between, and behind,
// the chunks of two values.
func TestLargeValuesKeepTheirPlace(t *testing.T) {
	f := newFollows(t)
	held, release := make(chan struct{}), make(chan struct{})
	note := f.r.values
	f.r.Values(func(v *Value) {
		if string(v.Key) == "large" {
			close(held)
			<-release
		}
		note(v)
	})
	large, larger := pieces(t, 1, valueFrame("large", 1000), 3), pieces(t, 2, valueFrame("larger", 3000), 3)
	require.NoError(t, f.receive(large[0], valueFrame("small", 1), larger[0], larger[1], replyFrame(1), large[1]))
	require.Equal(t, []string{"small of 1 bytes"}, f.news, "while neither of the large values is complete")

	require.NoError(t, f.receive(large[2], stateFrame("large"), valueFrame("small", 2), replyFrame(2), larger[2], stateFrame("larger")))
	<-held
	require.NoError(t, f.receive(replyFrame(3), stateFrame("small")))
	require.Equal(t, []uint64{1, 2, 3}, f.told, "replies while the first large value is being taken")
	close(release)
	f.r.Close()
	require.Equal(t, []string{
		"small of 1 bytes", "large of 1000 bytes", "state of large", "small of 2 bytes",
		"larger of 3000 bytes", "state of larger", "state of small",
	}, f.news)

	require.NoError(t, f.receive(valueFrame("small", 3)))
	require.Equal(t, "small of 3 bytes", f.news[len(f.news)-1], "with nothing to wait for")
	require.Empty(t, f.r.joiner.left, "frames under way")
}

// TestLargeRepliesAndOthers are joined as values are.
func TestLargeRepliesAndOthers(t *testing.T) {
	f := newFollows(t)
	require.NoError(t, f.receive(pieces(t, 1, replyFrame(7), 2)...))
	require.NoError(t, f.receive(pieces(t, 1, stateFrame("k"), 2)...))
	f.r.Close()
	require.Equal(t, []uint64{7}, f.told)
	require.Equal(t, []string{"state of k"}, f.news)
}

// TestLargeCalls has calls and others behind the chunks of a call.
func TestLargeCalls(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	held, release := make(chan struct{}), make(chan struct{})
	var failed error
	r := NewReceiver(nil)
	r.Calls(func(c *Call) {
		close(held)
		<-release
		note(fmt.Sprintf("call %d of %d bytes", c.ID, len(c.Payload)))
	}, func(err error) { failed = err })
	receive := func(frames ...*clusterclientv1.RequestFrame) error {
		data, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: frames})
		require.NoError(t, err)
		r.stream = &received{data: data}
		return allRequests(r, func(c *Call) { note(fmt.Sprintf("call %d", c.ID)) }, func(f *clusterclientv1.RequestFrame) {
			note(fmt.Sprintf("cancel %d", f.GetCancel().GetId()))
		})
	}
	call := func(id uint64, size int) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{Id: id, Payload: make([]byte, size)}}}
	}
	cancel := func(id uint64) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Cancel{Cancel: &clusterclientv1.Cancel{Id: id}}}
	}
	whole, err := proto.Marshal(call(1, 1000))
	require.NoError(t, err)
	piece := func(data []byte) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Chunk{Chunk: &clusterclientv1.Chunk{Id: 1, Size: uint64(len(whole)), Data: data}}}
	}
	require.NoError(t, receive(piece(whole[:500]), call(2, 0), cancel(2), piece(whole[500:]), cancel(1), call(3, 0)))
	<-held
	require.Equal(t, []string{"call 2", "cancel 2", "call 3"}, order, "while the large call is being taken")
	close(release)
	r.Close()
	require.Equal(t, []string{"call 2", "cancel 2", "call 3", "call 1 of 1000 bytes", "cancel 1"}, order)

	require.NoError(t, failed)
	require.NoError(t, receive(piece(bytes.Repeat([]byte{0xff}, len(whole)))))
	r.Close()
	require.ErrorContains(t, failed, "does not decode")
}

// TestBrokenChunksEndTheStream though they are found out about a little later.
func TestBrokenChunksEndTheStream(t *testing.T) {
	tests := []struct {
		name   string
		chunks []chunk
		want   string
	}{
		{"too large", []chunk{chunkOf(1, MaxFrame+1, "")}, "wire: a frame of 68157441 bytes, at most 68157440 are allowed"},
		{"more than it said", []chunk{chunkOf(1, 2, "abc")}, "wire: chunks of 3 bytes for a frame of 2"},
		{"no frame", []chunk{chunkOf(1, 2, "\xff\xff")}, "wire: a frame does not decode"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFollows(t)
			for _, c := range test.chunks {
				require.NoError(t, f.receive(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Chunk{
					Chunk: &clusterclientv1.Chunk{Id: c.id, Size: c.size, Data: c.data},
				}}))
			}
			f.r.Close()
			require.ErrorContains(t, f.receive(stateFrame("k")), test.want)
			require.Empty(t, f.news)
		})
	}
}

// TestJoinerIsNotOverrun makes the receiver wait when what takes the frames is
// far behind.
func TestJoinerIsNotOverrun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		f := newFollows(t)
		release := make(chan struct{})
		f.r.Values(func(v *Value) {
			if string(v.Key) == "first" {
				<-release
			}
		})
		require.NoError(t, f.receive(pieces(t, 1, valueFrame("first", 10), 2)...))
		received := make(chan error, 1)
		go func() { received <- f.receive(pieces(t, 2, valueFrame("second", 2*maxBehind), 64)...) }()
		synctest.Wait()
		require.Empty(t, received, "all was received while more than %d bytes wait", maxBehind)
		require.Greater(t, f.r.joiner.bytes, maxBehind, "bytes that wait")
		require.Less(t, f.r.joiner.bytes, maxBehind+maxBehind/16, "bytes that wait")
		close(release)
		require.NoError(t, <-received)
		f.r.Close()
		require.Zero(t, f.r.joiner.bytes, "bytes that wait in the end")
	})
}

// FuzzJoiner feeds a follower whatever comes, in two batches: values that are
// large are put together beside the receiver, and nothing may be left there.
func FuzzJoiner(f *testing.F) {
	batch := func(frames ...*clusterclientv1.ResponseFrame) []byte {
		data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: frames})
		require.NoError(f, err)
		return data
	}
	piece := func(id, size uint64, data []byte) *clusterclientv1.ResponseFrame {
		return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Chunk{Chunk: &clusterclientv1.Chunk{Id: id, Size: size, Data: data}}}
	}
	whole, err := proto.Marshal(valueFrame("k", 10))
	require.NoError(f, err)
	nested, err := proto.Marshal(piece(2, uint64(len(whole)), whole))
	require.NoError(f, err)
	f.Add(batch(piece(1, uint64(len(whole)), whole[:3])), batch(piece(1, uint64(len(whole)), whole[3:]), stateFrame("s"), replyFrame(1)))
	f.Add(batch(piece(1, uint64(len(nested)), nested)), batch(valueFrame("k", 1)))
	f.Add(batch(piece(1, 2, []byte{0xff}), piece(1, 2, []byte{0xff}), valueFrame("k", 1)), []byte{0xff})
	f.Add(batch(piece(1, 0, nil)), batch(piece(1, MaxFrame, nil)))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		r := NewReceiver(nil)
		r.Values(func(v *Value) { _ = v.Data() })
		for _, data := range [][]byte{first, second} {
			r.stream = &received{data: bytes.Clone(data)}
			if allResponses(r, func(*Reply) {}, func(*clusterclientv1.ResponseFrame) {}) != nil {
				break
			}
		}
		r.Close()
		if r.joiner == nil {
			return
		}
		kept := 0
		for _, have := range r.joiner.chunks.open {
			kept += have.have.Len()
		}
		require.LessOrEqual(t, kept, len(first)+len(second), "bytes kept")
		require.Empty(t, r.joiner.queue)
		require.Zero(t, r.joiner.bytes)
		require.Zero(t, r.joiner.ordered)
	})
}
