package leader_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/mempipe"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A tap counts the batches that a leader sends to a follower, which takes none
// while somebody else has its slot.
type tap struct {
	wire.Stream
	slot chan struct{} // one slot
	sent atomic.Int32  // or waiting for the slot
}

func (s *tap) SendMsg(m any) error {
	s.sent.Add(1)
	s.slot <- struct{}{}
	defer func() { <-s.slot }()
	return s.Stream.SendMsg(m)
}

// A reporter is an upstream that reports what a test says.
type reporter struct{ sink func(leader.Update) }

func (r *reporter) Watch(ctx context.Context, _ string, sink func(leader.Update)) error {
	r.sink = sink
	<-ctx.Done()
	return ctx.Err()
}

func (r *reporter) Close() error { return nil }

// TestLeaderLooksBeforeEveryBatch has somebody else lead from some moment on,
// as a leader finds that was stopped and goes on. Whatever waits to be said, not
// one more batch goes to a follower, and the session ends.
func TestLeaderLooksBeforeEveryBatch(t *testing.T) {
	for name, test := range map[string]struct {
		behind bool // the follower is, when somebody else begins to lead
		then   func()
	}{
		"a value that had been reported": {behind: true, then: func() {}},
		"a heartbeat":                    {then: func() { time.Sleep(3 * time.Second) }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var superseded atomic.Bool
				up := new(reporter)
				l := newLeader(t, leader.Config{MayAct: func() error {
					if superseded.Load() {
						return errors.New("somebody else leads")
					}
					return nil
				}}, up)
				here, there := wire.Pipe(t.Context())
				stream := &tap{Stream: there, slot: make(chan struct{}, 1)}
				served := make(chan error, 1)
				go func() {
					served <- l.Serve(stream, &clusterclientv1.Hello{Peer: &clusterclientv1.Peer{Instance: []byte("follower")}}, leader.Origin{})
					there.Close()
				}()
				p := &peer{t: t, stream: here}
				p.say(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{Subscribe: &clusterclientv1.Subscribe{Key: "k"}}})
				synctest.Wait()
				if test.behind {
					stream.slot <- struct{}{}
				}
				for i := range 3 { // the first one is about to be taken, the others wait
					up.sink(leader.Update{Data: []byte(strconv.Itoa(i))})
					synctest.Wait()
				}
				sent := stream.sent.Load()
				superseded.Store(true)
				if test.behind {
					<-stream.slot
				}
				test.then()
				synctest.Wait()
				require.Equal(t, sent, stream.sent.Load(), "batches sent when somebody else led")
				require.Len(t, served, 1, "the session has not ended")
				require.ErrorContains(t, <-served, "somebody else leads")
			})
		})
	}
}

// A service has a method that is quick, and does what a test wants.
type service struct {
	reporter
	act func()
}

func (s *service) RegisterMethods(r *leader.Registry) {
	leader.Handle(r, "act", func(context.Context, []byte) ([]byte, error) {
		s.act()
		return nil, nil
	}, leader.Quick())
}

// TestLeaderLooksBeforeItAnswersAtOnce has somebody else lead while a handler
// runs whose reply the goroutine that ran it sends itself.
func TestLeaderLooksBeforeItAnswersAtOnce(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var superseded atomic.Bool
		up := &service{act: func() {}}
		l := newLeader(t, leader.Config{Lanes: true, MayAct: func() error {
			if superseded.Load() {
				return errors.New("somebody else leads")
			}
			return nil
		}}, up)
		here, there := wire.Pipe(t.Context())
		served := make(chan error, 1)
		go func() {
			served <- l.Serve(there, &clusterclientv1.Hello{Peer: &clusterclientv1.Peer{Instance: []byte("follower")}}, leader.Origin{UID: 7})
			there.Close()
		}()
		var first clusterclientv1.SessionResponse
		require.NoError(t, here.RecvMsg(&first))
		lanes := mempipe.Listen(mempipe.Addr("lanes"))
		defer lanes.Close()
		own, err := lanes.Dial(t.Context())
		require.NoError(t, err)
		other, err := lanes.Accept()
		require.NoError(t, err)
		stream := wire.NewMoving(here)
		require.True(t, stream.Await(own))
		require.True(t, l.Lane(first.GetFrames()[0].GetWelcome().GetSession(), 7, other))

		w, r := wire.NewRequestWriter(stream, nil), wire.NewReceiver(stream)
		go func() { _ = w.Run(t.Context()) }()
		call := func(id uint64) (answered bool) {
			w.SendCall(&wire.Call{ID: id, Method: "act", Codec: codec.Bytes.Name()}, new(atomic.Bool))
			for !answered && r.Receive() == nil {
				for more := true; more; {
					var err error
					more, err = r.Response(func(reply *wire.Reply) { answered = reply.ID == id }, func(*clusterclientv1.ResponseFrame) {})
					require.NoError(t, err)
				}
			}
			return answered
		}
		require.True(t, call(1), "over the stream")
		require.True(t, call(2), "over the lane")
		up.act = func() { superseded.Store(true) }
		require.False(t, call(3), "when somebody else led")
		require.ErrorContains(t, <-served, "somebody else leads")
	})
}
