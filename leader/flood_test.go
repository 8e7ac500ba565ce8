package leader_test

import (
	"context"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// flooding is the stream of a follower that always has more to say.
type flooding struct {
	ctx   context.Context
	batch []byte
	count *atomic.Int64 // batches taken of all who flood
}

func (f *flooding) Context() context.Context { return f.ctx }
func (f *flooding) SendMsg(any) error        { return f.ctx.Err() }

func (f *flooding) RecvMsg(m any) error {
	f.count.Add(1)
	if f.ctx.Err() != nil {
		return f.ctx.Err()
	}
	return wire.Codec{}.Unmarshal(mem.BufferSlice{mem.SliceBuffer(f.batch)}, m)
}

// TestFloodedLeader counts what the leader does for followers that flood while
// a call of another one waits: a few turns of each. There is one processor, so
// that nothing depends on what else the machine does.
func TestFloodedLeader(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const floods, frames, calls, turns = 20, 300, 50, 5
	var m clusterclientv1.SessionRequest
	for id := range uint64(frames) {
		m.Frames = append(m.Frames, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Ack{Ack: &clusterclientv1.Ack{Ids: []uint64{id}}}})
	}
	batch, err := proto.Marshal(&m)
	require.NoError(t, err)
	l := newLeader(t, leader.Config{}, allAbilities{&centre{names: map[string]bool{}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var taken atomic.Int64
	for range floods {
		go func() {
			hello := &clusterclientv1.Hello{Peer: &clusterclientv1.Peer{Instance: []byte("flood"), Pid: 8}}
			_ = l.Serve(&flooding{ctx, batch, &taken}, hello, leader.Origin{})
		}()
	}
	p := join(t, l, 0)
	for id := range uint64(calls) {
		before := taken.Load()
		p.say(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{Id: id + 1, Method: "quick", Codec: "bytes"}}})
		for replied := false; !replied; {
			var got clusterclientv1.SessionResponse
			require.NoError(t, p.stream.RecvMsg(&got))
			replied = slices.ContainsFunc(got.GetFrames(), func(f *clusterclientv1.ResponseFrame) bool { return f.GetReply() != nil })
		}
		require.LessOrEqual(t, taken.Load()-before, int64(floods*turns), "batches that went before call %d", id)
	}
}
