package follower_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// told is the stream of a leader that has said what it has to say.
type told struct {
	t       *testing.T
	batches [][]byte
}

func (s *told) Context() context.Context { return context.Background() }

func (s *told) RecvMsg(m any) error {
	if len(s.batches) == 0 {
		return io.EOF
	}
	batch := s.batches[0]
	s.batches = s.batches[1:]
	return wire.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(batch))}, m)
}

func (s *told) SendMsg(m any) error {
	b, err := wire.Codec{}.Marshal(m)
	require.NoError(s.t, err)
	require.NoError(s.t, proto.Unmarshal(b.Materialize(), new(clusterclientv1.SessionRequest)), "what the follower says")
	return nil
}

// watch reads all that a subscription yields. Time does not run backwards,
// whatever the leader says.
func watch(t *testing.T, sub *follower.Subscription) {
	var last follower.Revision
	for {
		v, err := sub.Next(context.Background())
		if err != nil {
			return
		}
		require.Equal(t, "k", v.Key)
		require.GreaterOrEqual(t, v.Revision.Compare(last), 0, "%v after %v", v.Revision, last)
		last = v.Revision
	}
}

// whatever is some of what a leader may say.
func whatever() [][]*clusterclientv1.ResponseFrame {
	return [][]*clusterclientv1.ResponseFrame{
		{
			{Kind: &clusterclientv1.ResponseFrame_Value{Value: &clusterclientv1.Value{Key: "k", Revision: &clusterclientv1.Revision{Term: 1, Sequence: 2}, Data: []byte("v"), Version: []byte("1")}}},
			{Kind: &clusterclientv1.ResponseFrame_Value{Value: &clusterclientv1.Value{Key: "k", Revision: &clusterclientv1.Revision{Term: 1, Sequence: 3}, Deleted: true, Freshness: &clusterclientv1.Freshness{Stale: true}}}},
		},
		{
			{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{Key: "k", Freshness: &clusterclientv1.Freshness{Stale: true, Since: 1, Reason: "r"}}}},
			{Kind: &clusterclientv1.ResponseFrame_Progress{Progress: &clusterclientv1.Progress{Key: "k"}}},
		},
		{
			{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: &clusterclientv1.Reply{Id: 1, Codec: "json", Payload: []byte(`"x"`)}}},
			{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: &clusterclientv1.Reply{Id: 2, Code: 5, Message: "no", Status: []byte{8, 5}}}},
			{Kind: &clusterclientv1.ResponseFrame_Reply{Reply: &clusterclientv1.Reply{Id: 3, NotStarted: true, Code: 14}}},
		},
		{
			{Kind: &clusterclientv1.ResponseFrame_Task{Task: &clusterclientv1.Task{Id: 1, Value: &clusterclientv1.Value{Key: "k", Data: []byte("t")}}}},
			{Kind: &clusterclientv1.ResponseFrame_Inquiry{Inquiry: &clusterclientv1.Inquiry{Id: 1, Key: "k"}}},
			{Kind: &clusterclientv1.ResponseFrame_Record{Record: &clusterclientv1.Record{Owner: &clusterclientv1.Peer{Instance: []byte("i")}}}},
		},
		{
			{Kind: &clusterclientv1.ResponseFrame_Heartbeat{Heartbeat: &clusterclientv1.Heartbeat{Term: 9}}},
			{Kind: &clusterclientv1.ResponseFrame_Leaving{Leaving: &clusterclientv1.Leaving{Reason: "r", Last: true}}},
		},
	}
}

// FuzzLink is a leader that says anything at all, in two batches, to a follower
// with a subscription, a member of a queue group, a call and a registration.
// All of them end with the follower.
func FuzzLink(f *testing.F) {
	for _, frames := range whatever() {
		data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: frames})
		require.NoError(f, err)
		f.Add(data, data)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		fl, driver := follower.New(follower.Config{
			Name: "n", Codec: codec.JSON, CallTimeout: time.Minute, StaleAfter: time.Minute, Logger: hclog.NewNullLogger(),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		sub, err := fl.Subscribe(ctx, "k")
		require.NoError(t, err)
		all.Go(func() { watch(t, sub) })
		all.Go(func() { _, _ = fl.Subscribe(ctx, "k", follower.QueueGroup("g")) })
		all.Go(func() { _ = fl.Invoke(ctx, "m", "x", new(string)) })
		all.Go(func() { _, _ = fl.Register(ctx, "k", []byte("v")) })
		_ = driver.Run(ctx, follower.Link{
			Release: func() {},
			Stream:  &told{t, [][]byte{first, second}}, Welcome: &clusterclientv1.Welcome{Term: 1, IdempotentMethods: []string{"m"}},
			Close: func() {}, CloseSend: func() error { return nil }, Term: func(uint64) {},
		})
		cancel()
		driver.Close()
		driver.Wait()
		all.Wait()
	})
}
