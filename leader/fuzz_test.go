package leader_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// saying is the stream of a follower that has said what it has to say.
type saying struct {
	t       *testing.T
	batches [][]byte
}

func (s *saying) Context() context.Context { return context.Background() }

func (s *saying) RecvMsg(m any) error {
	if len(s.batches) == 0 {
		return io.EOF
	}
	batch := s.batches[0]
	s.batches = s.batches[1:]
	return wire.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(bytes.Clone(batch))}, m)
}

func (s *saying) SendMsg(m any) error {
	b, err := wire.Codec{}.Marshal(m)
	require.NoError(s.t, err)
	require.NoError(s.t, proto.Unmarshal(b.Materialize(), new(clusterclientv1.SessionResponse)), "what the leader says")
	return nil
}

// allAbilities is an upstream for whatever a follower may ask.
type allAbilities struct{ *centre }

func (allAbilities) Publish(context.Context, string, []byte) error { return nil }

func (allAbilities) RegisterMethods(r *leader.Registry) {
	leader.Handle(r, "quick", func(_ context.Context, in []byte) ([]byte, error) { return in, nil }, leader.Quick())
	leader.Handle(r, "plain", func(_ context.Context, in string) (string, error) { return in, nil }, leader.Idempotent())
}

// anything is some of what a member may say, in two batches.
func anything() [][2]*clusterclientv1.RequestFrame {
	call := func(c *clusterclientv1.Call) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: c}}
	}
	subscribe := &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{
		Subscribe: &clusterclientv1.Subscribe{Id: 1, Key: "k", Groups: []*clusterclientv1.GroupMember{{Name: "g", Member: 1}}},
	}}
	return [][2]*clusterclientv1.RequestFrame{
		{subscribe, {Kind: &clusterclientv1.RequestFrame_Ack{Ack: &clusterclientv1.Ack{Ids: []uint64{1}}}}},
		{subscribe, {Kind: &clusterclientv1.RequestFrame_Unsubscribe{Unsubscribe: &clusterclientv1.Unsubscribe{Key: "k"}}}},
		{
			call(&clusterclientv1.Call{Id: 1, Method: "plain", Codec: "json", Payload: []byte(`"x"`)}),
			{Kind: &clusterclientv1.RequestFrame_Cancel{Cancel: &clusterclientv1.Cancel{Id: 1}}},
		},
		{
			call(&clusterclientv1.Call{Id: 2, Method: "quick", Codec: "bytes", Deadline: 1}),
			call(&clusterclientv1.Call{Id: 2, Method: "quick", Codec: "bytes", Oneway: true}),
		},
		{
			{Kind: &clusterclientv1.RequestFrame_Register{Register: &clusterclientv1.Register{Id: 3, Registration: 1, Key: "k", Data: []byte("v")}}},
			{Kind: &clusterclientv1.RequestFrame_Publish{Publish: &clusterclientv1.Publish{Id: 4, Key: "k", Data: []byte("v")}}},
		},
		{
			{Kind: &clusterclientv1.RequestFrame_Finding{Finding: &clusterclientv1.Finding{Id: 1, Report: []byte("{}")}}},
			{Kind: &clusterclientv1.RequestFrame_Chunk{Chunk: &clusterclientv1.Chunk{Id: 1, Size: 10, Data: []byte("abc")}}},
		},
	}
}

// FuzzSession is a member that says anything at all, in two batches. The leader
// answers with what decodes, and the session leaves nothing running behind.
func FuzzSession(f *testing.F) {
	for _, frames := range anything() {
		var batches [2][]byte
		for i, frame := range frames {
			data, err := proto.Marshal(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{frame, frame}})
			require.NoError(f, err)
			batches[i] = data
		}
		f.Add(batches[0], batches[1])
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		l, err := leader.New(leader.Config{
			Self: &clusterclientv1.Peer{Instance: []byte("self")}, Term: 1, Codec: codec.JSON, Logger: hclog.NewNullLogger(),
			Limits: leader.Limits{Subscriptions: 100, Calls: 100, Registrations: 100, Groups: 100, Message: 1 << 20, Key: 100},
		}, allAbilities{&centre{names: map[string]bool{}}})
		require.NoError(t, err)
		hello := &clusterclientv1.Hello{Peer: &clusterclientv1.Peer{Instance: []byte("follower"), Pid: 7}}
		_ = l.Serve(&saying{t, [][]byte{first, second}}, hello, leader.Origin{UID: 1})
		require.NoError(t, l.Close())
		l.Wait()
	})
}
