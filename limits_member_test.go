package clusterclient_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A registration above the limit of them, or of all their bytes, is refused, the
// others stay, and when one is closed there is room.
func TestRegistrationsAboveTheLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		small := mustRegister(t, e.Client, "a", "1")
		large := mustRegister(t, e.Client, "b", strings.Repeat("2", 600))
		_, err := e.Client.Register(t.Context(), "c", []byte("3"))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		for _, want := range []string{`"c"`, "has 2 registrations already", "Limits.Registrations", "WithLimits"} {
			require.ErrorContains(t, err, want)
		}
		err = small.Update(t.Context(), make([]byte, 500))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		require.ErrorContains(t, err, "would announce 1100 bytes in its registrations, and all of them together may have the 1000 of Limits.Message")
		require.NoError(t, small.Update(t.Context(), make([]byte, 400)))
		require.NoError(t, large.Update(t.Context(), make([]byte, 600)), "no more than before")
		require.Len(t, e.Up.Registrations(), 2)

		require.NoError(t, large.Close())
		_, err = e.Client.Register(t.Context(), "d", make([]byte, 601))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		mustRegister(t, e.Client, "d", strings.Repeat("4", 600))
		synctest.Wait()
		require.Len(t, e.Up.Registrations(), 2)
	}, limited(clusterclient.Limits{Registrations: 2, Message: 1000}))
}

// What was announced to the leader before is announced to the next one, though
// that allows less.
func TestRegistrationsAtALeaderThatAllowsLess(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		first := cluster.Start()
		cluster.Start(clusterclient.WithLimits(clusterclient.Limits{Registrations: 1, Message: 1000}))
		c := cluster.Start(asFollower)
		r := mustRegister(t, c, "a", strings.Repeat("1", 600))
		mustRegister(t, c, "b", strings.Repeat("2", 600))
		require.NoError(t, first.Close())
		time.Sleep(time.Minute)
		require.Len(t, up.Registrations(), 2)
		require.Len(t, up.RegistrationHistory(), 4, "twice each")
		_, err := c.Register(t.Context(), "c", []byte("3"))
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		require.NoError(t, r.Close())
		_, err = c.Register(t.Context(), "c", []byte("3"))
		require.ErrorIs(t, err, clusterclient.ErrLimit, "there is one still")
	})
}

// A queue group above the limit of a key is refused, whether the key is served
// already or not; those that there are go on, and other keys have room.
func TestQueueGroupsAboveTheLimit(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		join := func(key, group string) (*follower.Subscription, error) {
			return e.Client.Subscribe(t.Context(), key, follower.QueueGroup(group))
		}
		first, err := join("a", "x")
		require.NoError(t, err)
		second, err := join("a", "y")
		require.NoError(t, err)
		_, err = join("a", "z")
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		for _, want := range []string{`"a"`, "more than 2 queue groups", "Limits.Groups", "WithLimits"} {
			require.ErrorContains(t, err, want)
		}
		again, err := join("a", "x")
		require.NoError(t, err, "it is there")
		_, err = join("b", "z")
		require.NoError(t, err)
		plain := mustSubscribe(t, e.Client, "a")
		mustYield(t, plain, "v")
		e.Up.Set("a", "w")
		mustYield(t, second, "w")
		mustYield(t, plain, "w")

		for _, sub := range []*follower.Subscription{first, second, again, plain} {
			require.NoError(t, sub.Close())
		}
		synctest.Wait()
		_, err = join("a", "z")
		require.ErrorIs(t, err, clusterclient.ErrLimit, "groups last as long as the key")
		synctest.Wait()
		time.Sleep(time.Minute)
		_, err = join("a", "z")
		require.NoError(t, err)
	}, limited(clusterclient.Limits{Groups: 2}))
}

// Whoever subscribes to ever new keys leaves no more of them behind than one may
// subscribe to.
func TestKeysThatNobodySubscribesTo(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		c := cluster.Start(asFollower)
		watched := func() (all int) {
			synctest.Wait()
			for i := range 20 {
				all += up.Watches(fmt.Sprint(i))
			}
			return all
		}
		for range 2 {
			for i := range 20 {
				up.Set(fmt.Sprint(i), "v")
				sub := mustSubscribe(t, c, fmt.Sprint(i))
				mustYield(t, sub, "v")
				require.NoError(t, sub.Close())
			}
			require.Equal(t, 3, watched(), "of 20")
			time.Sleep(time.Minute)
			require.Zero(t, watched())
		}
	}, clusterclient.WithLimits(clusterclient.Limits{Subscriptions: 3}))
}

// Those who wait for the first word of the upstream are no more than calls may
// be under way.
func TestQueueGroupsThatWait(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Hang(true)
		cluster.Start()
		p := newRawPeer(t, cluster)
		p.say(t, helloFrame(1))
		p.hear(t)
		for id := range uint64(5) {
			p.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{Subscribe: &clusterclientv1.Subscribe{
				Id: id + 1, Key: "k", Groups: []*clusterclientv1.GroupMember{{Name: "g", Member: 1}},
			}}})
		}
		for refused := uint64(0); refused < 3; {
			r := p.hear(t).GetReply()
			if r == nil {
				continue
			}
			refused++
			require.Equal(t, refused+2, r.GetId())
			require.True(t, r.GetOverLimit())
			require.Contains(t, r.GetMessage(), "Limits.Calls")
		}
	}, clusterclient.WithLimits(clusterclient.Limits{Calls: 2}))
}

// A hello that no client of ours says is refused.
func TestHelloThatIsTooLarge(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		for _, change := range []func(*clusterclientv1.Hello){
			func(h *clusterclientv1.Hello) { h.Name = strings.Repeat("x", 257) },
			func(h *clusterclientv1.Hello) { h.Identity = make([]byte, 64<<10) },
		} {
			p, f := newRawPeer(t, cluster), helloFrame(1)
			change(f.GetHello())
			p.say(t, f)
			r := p.hear(t).GetReject()
			require.Equal(t, clusterclientv1.Code_CODE_LIMIT, r.GetCode())
			require.Contains(t, r.GetMessage(), "takes a hello of 65536 bytes at most")
		}
	})
}

// What waits in a queue group has bytes as well.
func TestQueueGroupOfLargeValues(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		c := cluster.Start()
		up.Set("k", "")
		sub, err := c.Subscribe(t.Context(), "k", follower.QueueGroup("g"))
		require.NoError(t, err)
		synctest.Wait()
		for i := range 8 { // which the member holds
			up.Set("k", fmt.Sprint(i))
			synctest.Wait()
		}
		for i := range 3 {
			up.Set("k", strings.Repeat(fmt.Sprint(i), 30<<20))
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		for i := range 8 {
			mustYield(t, sub, fmt.Sprint(i))
		}
		for i := range 2 {
			v, err := sub.Next(ctx)
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(i+1), string(v.Data[:1]), "the oldest was dropped")
		}
	})
}
