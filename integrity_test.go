package clusterclient_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// A forgetful network makes frames that its process is to read, or has written,
// pass for frames of a kind that there is not: whoever gets them ignores them.
type forgetful struct {
	*clustertest.Host

	mu    sync.Mutex
	tag   byte   // of the kind of frame to be forgotten; 0 for none
	about []byte // the beginning of the frame
	again bool   // the next one is forgotten, too
	older bool   // the leader passes for a build that sends no checksums
	times int    // how often one was
}

// Kinds of frames, as they travel, and one that there is not.
const (
	subscribeTag   = 3<<3 | 2
	unsubscribeTag = 4<<3 | 2
	valueTag       = 8<<3 | 2
	stateTag       = 9<<3 | 2
	noTag          = 15<<3 | 2
)

// forget makes the next frame of a kind that is about a key disappear.
func (f *forgetful) forget(tag byte, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tag, f.about = tag, append([]byte{1<<3 | 2, byte(len(key))}, key...)
}

func (f *forgetful) spoil(b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range b {
		if f.tag != 0 && b[i] == f.tag && bytes.HasPrefix(b[min(i+2, len(b)):], f.about) {
			b[i] = noTag
			f.times++
			if !f.again {
				f.tag = 0
			}
		}
		if f.older && i+5 < len(b) && b[i] == 6<<3|2 && b[i+2] == 1<<3 && b[i+4] == 10<<3|2 {
			b[i+4] = noTag // of a heartbeat, behind a small term
		}
	}
}

func (f *forgetful) forgotten() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.times
}

func (f *forgetful) Dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := f.Host.Dial(ctx, address)
	return &forgetfulConn{c, f}, err
}

type forgetfulConn struct {
	net.Conn
	f *forgetful
}

func (c *forgetfulConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.f.spoil(b[:n])
	return n, err
}

func (c *forgetfulConn) Write(b []byte) (int, error) {
	b = bytes.Clone(b)
	c.f.spoil(b)
	return c.Conn.Write(b)
}

// warnings returns an option that has a client say what it warns of, and a
// function that returns that.
func warnings() (clusterclient.Option, func() string) {
	var mu sync.Mutex
	var said strings.Builder
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: &said, Mutex: &mu})
	return clusterclient.WithLogger(log), func() string {
		mu.Lock()
		defer mu.Unlock()
		return said.String()
	}
}

// A frame that is lost on its way, by a fault of either end, is noticed within
// seconds. All is told again, once.
func TestLostFrame(t *testing.T) {
	type world struct {
		up   *clustertest.Upstream
		node *clustertest.Node
		net  *forgetful
		sub  *follower.Subscription
	}
	for name, test := range map[string]struct {
		lose  func(t *testing.T, w *world)
		check func(t *testing.T, w *world)
	}{
		"value": {
			lose: func(_ *testing.T, w *world) {
				w.net.forget(valueTag, "key")
				w.up.Set("key", "two")
			},
			check: func(t *testing.T, w *world) { mustYield(t, w.sub, "two") },
		},
		"value before a state": {
			lose: func(_ *testing.T, w *world) {
				w.net.forget(valueTag, "key")
				w.up.Set("key", "two")
				synctest.Wait()
				w.up.FailWatches(errOpen) // the state has the value's revision
				time.Sleep(5 * time.Second)
				w.up.FailWatches(nil)
				time.Sleep(5 * time.Second)
			},
			check: func(t *testing.T, w *world) { mustYield(t, w.sub, "two") },
		},
		"stale": {
			lose: func(_ *testing.T, w *world) {
				w.net.forget(stateTag, "key")
				w.up.FailWatches(errOpen)
			},
			check: func(t *testing.T, w *world) { mustBeStale(t, w.sub) },
		},
		"first value": {
			lose: func(t *testing.T, w *world) {
				w.net.forget(valueTag, "late")
				w.sub = mustSubscribe(t, w.node, "late")
			},
			check: func(t *testing.T, w *world) { mustYield(t, w.sub, "here") },
		},
		"wish": {
			lose: func(t *testing.T, w *world) {
				w.net.forget(subscribeTag, "late")
				w.sub = mustSubscribe(t, w.node, "late")
			},
			check: func(t *testing.T, w *world) { mustYield(t, w.sub, "here") },
		},
		"end of a wish": {
			lose: func(t *testing.T, w *world) {
				w.net.forget(unsubscribeTag, "key")
				require.NoError(t, w.sub.Close())
			},
			check: func(t *testing.T, w *world) { require.Zero(t, w.up.Watches("key")) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				for key, value := range map[string]string{"key": "one", "late": "here", "other": "same", "big": strings.Repeat("x", 1<<20)} {
					up.Set(key, value)
				}
				cluster.Start()
				w := &world{up: up, net: &forgetful{Host: cluster.Network.Host()}}
				logger, said := warnings()
				w.node = cluster.Start(clusterclient.WithNetwork(w.net), logger, followerOnly)
				quiet := []*follower.Subscription{mustSubscribe(t, w.node, "other"), mustSubscribe(t, w.node, "big")}
				for _, sub := range quiet {
					mustNext(t, sub)
				}
				w.sub = mustSubscribe(t, w.node, "key")
				mustYield(t, w.sub, "one")
				time.Sleep(longEnough)
				require.Zero(t, w.node.Stats().Resyncs)

				test.lose(t, w)
				time.Sleep(2 * longEnough)
				require.Equal(t, 1, w.net.forgotten(), "nothing was lost")
				test.check(t, w)
				for _, sub := range quiet {
					mustStayQuiet(t, sub)
					mustBeFreshUnless(t, name == "stale", sub)
				}
				require.Equal(t, uint64(1), w.node.Stats().Resyncs)
				require.Equal(t, 1, strings.Count(said(), "asking for all of them again"), said())
				require.NotContains(t, said(), "ERROR")
			})
		})
	}
}

func mustBeFreshUnless(t *testing.T, stale bool, sub *follower.Subscription) {
	t.Helper()
	if v, _ := sub.Value(); v.Stale != stale {
		require.Fail(t, "wrong state", "%q is stale: %t", v.Key, v.Stale)
	}
}

// What does not help is not done again and again.
func TestFrameThatIsAlwaysLost(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		net := &forgetful{Host: cluster.Network.Host(), again: true}
		logger, said := warnings()
		b := cluster.Start(clusterclient.WithNetwork(net), logger, followerOnly)
		mustNext(t, mustSubscribe(t, b, "key"))
		net.forget(valueTag, "key")
		up.Set("key", "two")
		time.Sleep(10 * longEnough)
		require.Equal(t, 2, net.forgotten())
		require.Equal(t, uint64(1), b.Stats().Resyncs)
		require.Equal(t, 1, strings.Count(said(), "[ERROR]"), said())
	})
}

// A build that knows nothing of checksums is not suspected.
func TestLostFrameOfAnOlderBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start()
		net := &forgetful{Host: cluster.Network.Host(), older: true}
		b := cluster.Start(clusterclient.WithNetwork(net), followerOnly)
		sub := mustSubscribe(t, b, "key")
		mustNext(t, sub)
		net.forget(valueTag, "key")
		up.Set("key", "two")
		mustStayQuiet(t, sub)
		require.Equal(t, 1, net.forgotten())
		require.Zero(t, b.Stats().Resyncs)
	})
}

// Whatever happens to a cluster in which no frame is lost, nothing is told
// again.
func TestNothingIsToldAgainWithoutAFault(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		logger, said := warnings()
		slow := newStallable(cluster)
		cluster.Start(logger)
		nodes := []*clustertest.Node{cluster.Start(logger), cluster.Start(logger, followerOnly), cluster.Start(logger, followerOnly, slow.option())}
		key := func() string { return strconv.Itoa(rand.IntN(30)) }
		var storms sync.WaitGroup
		often := func(pause time.Duration, do func()) {
			storms.Go(func() {
				for ctx.Err() == nil {
					do()
					time.Sleep(rand.N(pause))
				}
			})
		}
		often(5*time.Millisecond, func() { up.Set(key(), strconv.Itoa(rand.Int())) })
		often(time.Second, func() { up.Set(key(), strings.Repeat("x", 300_000)+strconv.Itoa(rand.Int())) })
		often(time.Second, func() { up.Delete(key()) })
		often(10*time.Second, func() { up.FailWatches([]error{nil, errOpen}[rand.IntN(2)]) })
		often(20*time.Second, func() { up.Hang(rand.IntN(2) == 0) })
		for _, n := range nodes {
			for i := range 30 {
				mustSubscribe(t, n, strconv.Itoa(i))
			}
			often(10*time.Millisecond, func() { _, _ = n.Get(ctx, "x"+key()) })
			often(2*time.Second, func() {
				if sub, err := n.Subscribe(ctx, key(), follower.QueueGroup("g")); err == nil {
					_, _ = sub.Next(ctx)
					_ = sub.Close()
				}
			})
		}
		often(10*time.Second, func() {
			slow.stall()
			time.Sleep(rand.N(10 * time.Second))
			slow.release()
		})
		storms.Wait()
		for _, n := range nodes {
			require.Zero(t, n.Stats().Resyncs, said())
		}
		cluster.Leader().Kill()
		up.FailWatches(nil)
		time.Sleep(longEnough)
		for _, n := range nodes {
			require.Zero(t, n.Stats().Resyncs, said())
		}
		require.NotContains(t, said(), "asking for all of them again")
	})
}
