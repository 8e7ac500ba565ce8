//go:build !race

package clusterclient_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// Allocations do not depend on how fast or busy the machine is, so they can be
// held to a number. These are what was measured, and a little.
const (
	allocsPerLocalCall   = 11 // within the leader's process
	allocsPerLoneCall    = 25 // from a follower, with no other call under way
	allocsPerBatchedCall = 5  // from a follower, one of 512 under way
	allocsPerDelivery    = 18 // an update, to one follower, with nothing else under way
	allocsPerKey         = 44 // of many that a follower subscribes to, with the first value, at both ends
)

// overLoopback returns a leader and a follower that share a real port.
func overLoopback(tb testing.TB) (leads, follows *clusterclient.Client, up *clustertest.Upstream) {
	tb.Helper()
	up = clustertest.NewUpstream()
	up.Methods = func(r *leader.Registry) {
		leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	}
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(tb, err)
	port := lis.Addr().(*net.TCPAddr).Port
	require.NoError(tb, lis.Close())
	dir := clusterclient.WithRuntimeDir(tb.TempDir())
	leads, err = clusterclient.Create("allocs", port, clusterclient.WithUpstream(up.Open), dir)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = leads.Close() })
	follows, err = clusterclient.Create("allocs", port, dir)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = follows.Close() })
	return leads, follows, up
}

func TestAllocsPerCall(t *testing.T) {
	leads, follows, _ := overLoopback(t)
	arg, ctx := make([]byte, 100), t.Context()
	call := func(c *clusterclient.Client) {
		var out []byte
		if err := c.Invoke(ctx, "echo", arg, &out); err != nil {
			t.Error(err)
		}
	}
	require.LessOrEqual(t, testing.AllocsPerRun(5000, func() { call(leads) }), float64(allocsPerLocalCall), "from the leader's process")
	require.LessOrEqual(t, testing.AllocsPerRun(5000, func() { call(follows) }), float64(allocsPerLoneCall), "from a follower, one at a time")

	const callers, each = 512, 40
	got := testing.AllocsPerRun(3, func() {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					call(follows)
				}
			})
		}
		wg.Wait()
	})
	require.LessOrEqual(t, got/(callers*each), float64(allocsPerBatchedCall), "from a follower, %d at a time", callers)
}

func TestAllocsPerDelivery(t *testing.T) {
	_, follows, up := overLoopback(t)
	up.Set("k", "0")
	sub, err := follows.Subscribe(t.Context(), "k")
	require.NoError(t, err)
	next := func() follower.Value {
		v, err := sub.Next(t.Context())
		require.NoError(t, err)
		return v
	}
	next()
	i := 0
	got := testing.AllocsPerRun(2000, func() {
		i++
		up.Set("k", fmt.Sprint(i))
		next()
	})
	require.LessOrEqual(t, got, float64(allocsPerDelivery))
}

// ReuseData spares a piece of memory for each value.
func TestAllocsOfReusedData(t *testing.T) {
	_, follows, up := overLoopback(t)
	const size, deliveries = 10_000, 200
	values := [2]string{strings.Repeat("0", size), strings.Repeat("1", size)}
	measure := func(key string, opts ...follower.SubscribeOption) uint64 {
		sub, err := follows.Subscribe(t.Context(), key, opts...)
		require.NoError(t, err)
		var before, after runtime.MemStats
		for i := range deliveries {
			if i == deliveries/10 { // it has what it will use again
				runtime.ReadMemStats(&before)
			}
			up.Set(key, values[i%2])
			for v := (follower.Value{}); string(v.Data) != values[i%2]; {
				v, err = sub.Next(t.Context())
				require.NoError(t, err)
			}
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	plain, reused := measure("plain"), measure("reused", follower.ReuseData())
	require.Less(t, reused+size*deliveries*8/10, plain, "bytes allocated for %d values of %d bytes", deliveries*9/10, size)
}

func TestAllocsPerKey(t *testing.T) {
	_, follows, up := overLoopback(t)
	const keys, runs = 2000, 3
	names := make([][]string, runs+1) // AllocsPerRun warms up
	for run := range names {
		for i := range keys {
			names[run] = append(names[run], fmt.Sprintf("%d/%d", run, i))
			up.Set(names[run][i], "v")
		}
	}
	run := 0
	got := testing.AllocsPerRun(runs, func() {
		all, err := follows.SubscribeAll(t.Context(), names[run])
		require.NoError(t, err)
		run++
		for range keys {
			_, err := all.Next(t.Context())
			require.NoError(t, err)
		}
	})
	require.LessOrEqual(t, got/keys, float64(allocsPerKey))
}

func BenchmarkDelivery(b *testing.B) {
	_, follows, up := overLoopback(b)
	for _, size := range []int{100, 10_000, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			key := fmt.Sprint("k", size)
			up.Set(key, "")
			sub, err := follows.Subscribe(b.Context(), key)
			require.NoError(b, err)
			_, err = sub.Next(b.Context())
			require.NoError(b, err)
			values := [2]string{strings.Repeat("0", size), strings.Repeat("1", size)}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				up.Set(key, values[i%2])
				if _, err := sub.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkInvoke(b *testing.B) {
	leads, follows, _ := overLoopback(b)
	for name, c := range map[string]*clusterclient.Client{"leader": leads, "follower": follows} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			arg := make([]byte, 100)
			for b.Loop() {
				var out []byte
				if err := c.Invoke(b.Context(), "echo", arg, &out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
