package clusterclient_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

func TestFollowerHooks(t *testing.T) {
	events := make(chan string, 100)
	known := make(map[string]int)
	name := func(p leader.Peer) int {
		if known[p.Instance] == 0 {
			known[p.Instance] = len(known) + 1
		}
		return known[p.Instance]
	}
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		mustHear := func(want string) {
			t.Helper()
			synctest.Wait()
			require.NotEmpty(t, events, "nothing is told, want %q", want)
			require.Regexp(t, want, <-events)
		}
		a := cluster.Start(clusterclient.WithFollowerHooks(
			func(p leader.Peer) {
				events <- fmt.Sprint("joined ", name(p))
				if name(p) == 2 {
					panic("out of luck")
				}
			},
			func(p leader.Peer, why error) { events <- fmt.Sprint("left ", name(p), ": ", why) },
		))
		b := cluster.Start()
		mustHear("joined 1")
		c := cluster.Start()
		mustHear("joined 2")
		require.NoError(t, b.Close())
		mustHear("left 1: <nil>")
		c.Kill()
		mustHear("left 2: the connection was lost: .*")
		cluster.Start()
		mustHear("joined 3")
		d := newRawPeer(t, cluster)
		d.say(t, helloFrame(1))
		mustHear("joined 4")
		d.say(t, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Chunk{Chunk: &clusterclientv1.Chunk{Id: 1, Size: 1 << 40}}})
		mustHear("left 4: cut off, since what it said made no sense: wire: a frame of .* bytes, .*")
		require.NoError(t, a.Close())
		time.Sleep(longEnough)
		require.Empty(t, events, "the end of the leadership is told, or the leader itself")
	})
}

// A new leader announces again what its predecessor's followers have announced
// before it withdraws anything, even if the upstream takes its time.
func TestAdoptBeforeWithdraw(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		b := cluster.Start()
		c := cluster.Start()
		mustRegister(t, a, "a", "1")
		mustRegister(t, b, "b", "2")
		mustRegister(t, c, "c", "3")
		synctest.Wait()
		before := len(up.RegistrationHistory())
		up.FailRegister(errors.New("unreachable"))
		a.Kill()
		time.Sleep(7 * time.Second)
		up.FailRegister(nil)
		time.Sleep(longEnough)
		require.Equal(t, map[string]string{"b": "2", "c": "3"}, registered(up))
		history := up.RegistrationHistory()[before:]
		require.Len(t, history, 3)
		require.True(t, history[0].Registered && history[1].Registered, "something was withdrawn first: %v", history)
		require.Equal(t, "a", history[2].Key)
	})
}
