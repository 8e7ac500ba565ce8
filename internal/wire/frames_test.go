package wire

import (
	"cmp"
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// received is a stream on which one message has arrived.
type received struct {
	data     []byte
	segments mem.BufferSlice // in place of data, and freed
	over     bool
}

func (r *received) Context() context.Context { return context.Background() }
func (r *received) SendMsg(any) error        { return io.ErrClosedPipe }

func (r *received) RecvMsg(m any) error {
	if r.over {
		return io.EOF
	}
	r.over = true
	if r.segments != nil {
		defer r.segments.Free()
		return Codec{}.Unmarshal(r.segments, m)
	}
	m.(*Frames).data = r.data
	return nil
}

// allRequests takes all frames of one batch.
func allRequests(r *Receiver, call func(*Call), other func(*clusterclientv1.RequestFrame)) error {
	err := r.Receive()
	for more := true; more && err == nil; {
		more, err = r.Request(call, other)
	}
	return err
}

// allResponses does the same with one of a leader.
func allResponses(r *Receiver, reply func(*Reply), other func(*clusterclientv1.ResponseFrame)) error {
	err := r.Receive()
	for more := true; more && err == nil; {
		more, err = r.Response(reply, other)
	}
	return err
}

// byHand reads a SessionRequest as a leader does.
func byHand(data []byte) (frames []*clusterclientv1.RequestFrame, err error) {
	err = allRequests(NewReceiver(&received{data: data}),
		func(c *Call) {
			frames = append(frames, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: callProto(c)}})
		},
		func(f *clusterclientv1.RequestFrame) { frames = append(frames, proto.CloneOf(f)) },
	)
	return frames, err
}

// repliesByHand reads a SessionResponse as a follower does.
func repliesByHand(data []byte) (frames []*clusterclientv1.ResponseFrame, err error) {
	r := NewReceiver(&received{data: data})
	r.Values(func(v *Value) {
		frames = append(frames, &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{Value: valueProto(v)}})
	})
	err = allResponses(r,
		func(p *Reply) {
			frames = append(frames, &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: replyProto(p)}})
		},
		func(f *clusterclientv1.ResponseFrame) { frames = append(frames, f) },
	)
	return frames, err
}

func callProto(c *Call) *clusterclientv1.Call {
	return &clusterclientv1.Call{
		Id: c.ID, Method: c.Method, Codec: c.Codec, Deadline: c.Deadline, Oneway: c.Oneway, Metadata: c.Metadata, Payload: c.Payload,
	}
}

func replyProto(p *Reply) *clusterclientv1.Reply {
	return &clusterclientv1.Reply{
		Id: p.ID, Code: p.Code, Message: p.Message, Status: p.Status, NotStarted: p.NotStarted, Codec: p.Codec,
		Header: p.Header, Trailer: p.Trailer, TooLarge: p.TooLarge, OverLimit: p.OverLimit, Payload: p.Payload,
	}
}

func valueProto(v *Value) *clusterclientv1.Value {
	return &clusterclientv1.Value{
		Key: string(v.Key), Revision: v.Revision.ToProto(), Version: v.Version, Deleted: v.Deleted,
		Freshness: proto.CloneOf(v.Freshness), Content: v.content, Number: v.Number, Data: v.Data(),
	}
}

// plain returns m without what the hand-written code does not keep: unknown
// fields, and the difference between nothing and what was not set.
func plain[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	require.NoError(t, err)
	out := m.ProtoReflect().New().Interface()
	require.NoError(t, proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, out))
	if f, ok := out.(*clusterclientv1.ResponseFrame); ok && f.GetValue() != nil {
		v := f.GetValue()
		v.Revision, v.Freshness = RevisionFrom(v.GetRevision()).ToProto(), cmp.Or(v.GetFreshness(), &clusterclientv1.Freshness{})
	}
	return out.(M)
}

func requireSame[M proto.Message](t *testing.T, want, got []M) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		w, g := plain(t, want[i]), plain(t, got[i])
		require.True(t, proto.Equal(w, g), "frame %d:\ngenerated code reads %v\nby hand %v", i, w, g)
	}
}

// requests is one of each case that matters.
func requests() []*clusterclientv1.RequestFrame {
	call := func(c *clusterclientv1.Call) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: c}}
	}
	return []*clusterclientv1.RequestFrame{
		call(&clusterclientv1.Call{}),
		call(&clusterclientv1.Call{Id: 1, Method: "m", Codec: "json", Deadline: -1, Oneway: true, Payload: []byte("x")}),
		call(&clusterclientv1.Call{Id: 1 << 63, Method: "/pkg.Service/Method", Metadata: []*clusterclientv1.Metadata{
			{Key: "a", Values: [][]byte{[]byte("1"), nil}}, {},
		}}),
		{Kind: &clusterclientv1.RequestFrame_Cancel{Cancel: &clusterclientv1.Cancel{Id: 7}}},
		{},
	}
}

func responses() []*clusterclientv1.ResponseFrame {
	reply := func(p *clusterclientv1.Reply) *clusterclientv1.ResponseFrame {
		return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: p}}
	}
	value := func(v *clusterclientv1.Value) *clusterclientv1.ResponseFrame {
		return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{Value: v}}
	}
	return []*clusterclientv1.ResponseFrame{
		value(&clusterclientv1.Value{}),
		value(&clusterclientv1.Value{
			Key: "k", Revision: &clusterclientv1.Revision{Term: 2, Sequence: 1 << 63}, Version: []byte{0xff}, Data: []byte("v"),
			Freshness: &clusterclientv1.Freshness{Stale: true, Since: -1, Reason: "r", Origin: clusterclientv1.Origin_ORIGIN_SNAPSHOT, Pending: true, TooLarge: true},
			Content:   1 << 63, Number: 300,
		}),
		value(&clusterclientv1.Value{Key: "d", Deleted: true, Freshness: &clusterclientv1.Freshness{Since: 5}}),
		reply(&clusterclientv1.Reply{}),
		reply(&clusterclientv1.Reply{Id: 1, Code: -5, Message: "no", Status: []byte{1}, NotStarted: true, Codec: "proto"}),
		reply(&clusterclientv1.Reply{Id: 1, Code: 8, OverLimit: true}),
		reply(&clusterclientv1.Reply{Id: 2, Payload: []byte("y"), Header: []*clusterclientv1.Metadata{{Key: "h"}}, Trailer: []*clusterclientv1.Metadata{{Key: "t", Values: [][]byte{{0}}}}}),
		{Kind: &clusterclientv1.ResponseFrame_Heartbeat{Heartbeat: &clusterclientv1.Heartbeat{Term: 3}}},
	}
}

func TestReadsWhatGeneratedCodeWrote(t *testing.T) {
	data, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: requests()})
	require.NoError(t, err)
	got, err := byHand(data)
	require.NoError(t, err)
	requireSame(t, requests(), got)

	data, err = proto.Marshal(&clusterclientv1.SessionResponse{Frames: responses()})
	require.NoError(t, err)
	replies, err := repliesByHand(data)
	require.NoError(t, err)
	requireSame(t, responses(), replies)
}

func TestGeneratedCodeReadsWhatWasWrittenByHand(t *testing.T) {
	w := NewRequestWriter(nil, nil)
	for _, f := range requests() {
		if c := f.GetCall(); c != nil {
			w.SendCall(callFrom(c), nil)
		} else {
			w.Send(f, nil)
		}
	}
	b, _, _ := w.next()
	var got clusterclientv1.SessionRequest
	require.NoError(t, proto.Unmarshal(*b.buf, &got))
	requireSame(t, requests(), got.GetFrames())

	w = NewResponseWriter(nil, nil)
	for _, f := range responses() {
		if p := f.GetReply(); p != nil {
			w.SendReply(replyFrom(p))
		} else {
			w.Send(f, nil)
		}
	}
	b, _, _ = w.next()
	var replies clusterclientv1.SessionResponse
	require.NoError(t, proto.Unmarshal(*b.buf, &replies))
	requireSame(t, responses(), replies.GetFrames())
}

// maxFuzzed is how large an input of a fuzz target is at most. Go's fuzzing takes
// a process for one that hangs when one input takes 10 s, on the clock; this one
// takes 70 ms, so that a busy machine has some room. Longer ones only repeat what
// shorter ones have.
const maxFuzzed = 64 << 10

// FuzzRequests holds the hand-written decoder against the generated one: both
// take the same bytes, and see the same in them.
func FuzzRequests(f *testing.F) {
	for _, frame := range requests() {
		data, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{frame, frame}})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFuzzed {
			return
		}
		var want clusterclientv1.SessionRequest
		wantErr := proto.Unmarshal(data, &want)
		got, err := byHand(data)
		for _, frame := range want.GetFrames() {
			if frame.GetChunk() != nil {
				t.Skip("chunks are put together by hand and left alone by generated code")
			}
		}
		if wantErr != nil {
			require.Error(t, err, "generated code: %v", wantErr)
			return
		}
		require.NoError(t, err)
		requireSame(t, want.GetFrames(), got)
	})
}

// FuzzResponses is FuzzRequests for the other direction.
func FuzzResponses(f *testing.F) {
	for _, frame := range responses() {
		data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: []*clusterclientv1.ResponseFrame{frame, frame}})
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxFuzzed {
			return
		}
		var want clusterclientv1.SessionResponse
		wantErr := proto.Unmarshal(data, &want)
		got, err := repliesByHand(data)
		for _, frame := range want.GetFrames() {
			if frame.GetChunk() != nil {
				t.Skip("chunks are put together by hand and left alone by generated code")
			}
		}
		if wantErr != nil {
			require.Error(t, err, "generated code: %v", wantErr)
			return
		}
		require.NoError(t, err)
		requireSame(t, want.GetFrames(), got)
	})
}

func TestPullIsAskedThoughFullBatchesWait(t *testing.T) {
	asked := 0
	w := NewResponseWriter(nil, func(*Batch) { asked++ })
	for range 3 * batchSize / 1000 {
		w.SendReply(&Reply{ID: 1, Payload: make([]byte, 1000)})
	}
	b, _, _ := w.next()
	require.True(t, b.Full())
	require.Equal(t, 1, asked, "heartbeats and values would wait behind all replies")
}
