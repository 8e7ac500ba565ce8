package clusterclient_test

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

func TestLimits(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		held := make(chan struct{})
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "wait", func(context.Context, []byte) ([]byte, error) {
				<-held
				return nil, nil
			})
			leader.Handle(r, "size", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
			leader.Handle(r, "take", func(context.Context, []byte) ([]byte, error) { return nil, nil })
		}
		for _, key := range []string{"a", "b", "c"} {
			up.Set(key, "v")
		}
		cluster.Start()
		c := cluster.Start()

		first := mustSubscribe(t, c, "a")
		mustYield(t, first, "v")
		mustYield(t, mustSubscribe(t, c, "b"), "v")
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		_, err := mustSubscribe(t, c, "c").Next(ctx)
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		require.ErrorContains(t, err, "subscribes to 2 keys already, and no more are allowed by Limits.Subscriptions")
		_, err = c.Subscribe(t.Context(), "d", follower.QueueGroup("g"))
		require.ErrorContains(t, err, "subscribes to 2 keys already")
		require.ErrorIs(t, err, clusterclient.ErrLimit)

		_, err = clusterclient.Invoke[[]byte, []byte](t.Context(), c.Client, "take", make([]byte, 1000))
		require.NoError(t, err)
		_, err = clusterclient.Invoke[[]byte, []byte](t.Context(), c.Client, "take", make([]byte, 1001))
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		require.ErrorContains(t, err, "1001 bytes, at most 1000 are allowed")
		_, err = clusterclient.Invoke[int, []byte](t.Context(), c.Client, "size", 1001)
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		require.ErrorIs(t, c.Publish(t.Context(), "a", make([]byte, 1001)), clusterclient.ErrTooLarge)
		require.ErrorIs(t, c.Publish(t.Context(), strings.Repeat("k", 101), []byte{}), clusterclient.ErrTooLarge)
		_, err = c.Register(t.Context(), "a", make([]byte, 1001))
		require.ErrorIs(t, err, clusterclient.ErrTooLarge)
		up.Set("a", strings.Repeat("v", 1001))
		require.ErrorContains(t, mustBeStale(t, first).Reason, "has 1001 bytes, at most 1000 are allowed")

		for range 2 {
			go func() { _, _ = clusterclient.Invoke[[]byte, []byte](t.Context(), c.Client, "wait", nil) }()
		}
		synctest.Wait()
		_, err = clusterclient.Invoke[[]byte, []byte](t.Context(), c.Client, "wait", nil)
		require.Equal(t, codes.ResourceExhausted, status.Code(err))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		close(held)
	}, clusterclient.WithLimits(clusterclient.Limits{Subscriptions: 2, Calls: 2, Message: 1000, Key: 100}))
}

func TestLimitsThatMakeNoSense(t *testing.T) {
	for want, l := range map[string]clusterclient.Limits{
		"Handshake of -1s":     {Handshake: -time.Second},
		"Sessions -1":          {Sessions: -1},
		"Message of 67108865":  {Message: 64<<20 + 1},
		"TLSHandshake of 4095": {TLSHandshake: 4095},
	} {
		_, err := clusterclient.Create("test", 0, clusterclient.WithLimits(l))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
	for want, opt := range map[string]clusterclient.Option{
		"WithSecret was given 15 bytes": clusterclient.WithSecret(make([]byte, 15)),
		"WithPeers was given [-1]":      clusterclient.WithPeers(-1),
		"WithTLS was given nil":         clusterclient.WithTLS(nil),
	} {
		_, err := clusterclient.Create("test", 0, opt)
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// A peer that asks and asks and never reads has to wait, and costs no more for
// asking longer. What it asks in all is more than a leader takes, and little
// enough that one which takes all of it fails, and does no more than that.
func TestPeerThatNeverReads(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		const batches = 64 // of 1 MB each, and the answers have as much
		up.Set("k", "v")
		cluster.Start()
		follows := cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, helloFrame(1))
		p.hear(t)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)

		var frames []*clusterclientv1.RequestFrame
		for id := range uint64(1000) {
			frames = append(frames, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{
				Call: &clusterclientv1.Call{Id: id + 1, Method: strings.Repeat("x", 1000)},
			}})
		}
		var taken atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range batches {
				if p.stream.Send(&clusterclientv1.SessionRequest{Frames: frames}) != nil {
					return
				}
				taken.Add(1)
			}
		}()
		synctest.Wait() // until it has to, or is done
		mustYield(t, mustSubscribe(t, follows, "k"), "v")
		assert.Less(t, taken.Load(), int32(batches), "MB taken of a peer that takes nothing")
		runtime.GC()
		runtime.ReadMemStats(&after)
		assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20), "bytes held for it")
		require.NoError(t, p.conn.Close())
		<-done
	})
}
