package clusterclient_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
)

// A reader that says so gets the values in memory that is used again and again,
// however it subscribes.
func TestReuseData(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "first")
		sub := mustSubscribe(t, e.Client, "k", follower.ReuseData())
		set, err := e.Client.SubscribeAll(t.Context(), []string{"l", "m"}, follower.ReuseData(), follower.WithStates(), follower.MaxStale(time.Hour))
		require.NoError(t, err)
		for key, next := range map[string]func(context.Context) (follower.Value, error){"k": sub.Next, "l": set.Next} {
			var used []*byte
			for i := range 100 {
				want := fmt.Sprintf("value %0100d", i)
				e.Up.Set(key, want)
				synctest.Wait()
				for {
					v, err := next(t.Context())
					require.NoError(t, err)
					if string(v.Data) == want {
						used = append(used, &v.Data[0])
						break
					}
				}
			}
			slices.SortFunc(used, func(a, b *byte) int { return slices.Index(used, a) - slices.Index(used, b) })
			require.LessOrEqual(t, len(slices.Compact(used)), 4, "pieces of memory for the values of %q", key)
		}
	})
}

// Whatever the reader of a key does not mind, what others were given stays as
// it was.
func TestReuseDataLeavesOthersTheirs(t *testing.T) {
	kept := func(v follower.Value, ok bool) []byte {
		require.True(t, ok)
		return v.Data
	}
	for name, keep := range map[string]func(t *testing.T, c *clusterclient.Client, sub *follower.Subscription) []byte{
		"Value": func(_ *testing.T, _ *clusterclient.Client, sub *follower.Subscription) []byte {
			return kept(sub.Value())
		},
		"Get": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) []byte {
			v, err := c.Get(t.Context(), "k")
			return kept(v, err == nil)
		},
		"Get that says so": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) []byte {
			v, err := c.Get(t.Context(), "k", follower.ReuseData())
			return kept(v, err == nil)
		},
		"another subscription": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) []byte {
			other := mustSubscribe(t, c, "k")
			defer func() { require.NoError(t, other.Close()) }()
			v, err := other.Next(t.Context())
			return kept(v, err == nil)
		},
		"a validated one": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) (data []byte) {
			other := mustSubscribe(t, c, "k", follower.ReuseData(), follower.Validate(func(v follower.Value) error {
				data = v.Data
				return nil
			}))
			defer func() { require.NoError(t, other.Close()) }()
			_, err := other.Next(t.Context())
			require.NoError(t, err)
			return data
		},
		"one that rejects": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) (data []byte) {
			other := mustSubscribe(t, c, "k", follower.Validate(func(v follower.Value) error {
				data = v.Data
				return errOpen
			}))
			defer func() { require.NoError(t, other.Close()) }()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := other.Next(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return data
		},
		"one that keeps": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) []byte {
			v, err := c.Get(t.Context(), "k", follower.ReuseData(), follower.KeepOnEmpty(time.Hour))
			return kept(v, err == nil)
		},
		"Watch": func(t *testing.T, c *clusterclient.Client, _ *follower.Subscription) []byte {
			for data, err := range clusterclient.Watch[[]byte](t.Context(), c, "k") {
				require.NoError(t, err)
				return data
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				e.Up.Set("k", "value 0")
				sub := mustSubscribe(t, e.Client, "k", follower.ReuseData())
				have := make(map[string][]byte)
				for i := range 40 {
					want := fmt.Sprintf("value %d", i)
					e.Up.Set("k", want)
					synctest.Wait()
					if i%4 < 2 {
						have[want] = keep(t, e.Client, sub)
					}
					if i%3 > 0 {
						mustYield(t, sub, want)
					}
					if i%4 > 1 {
						have[want] = keep(t, e.Client, sub)
					}
				}
				for want, data := range have {
					require.Equal(t, want, string(data), "the data that was kept")
				}
			})
		})
	}
}

// The value that KeepOnEmpty keeps is not the key's any more.
func TestReuseDataLeavesWhatIsKept(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "kept")
		sub := mustSubscribe(t, e.Client, "k", follower.ReuseData())
		keeps := mustSubscribe(t, e.Client, "k", follower.KeepOnEmpty(time.Hour))
		mustYield(t, sub, "kept")
		e.Up.Delete("k")
		v, err := sub.Next(t.Context())
		require.NoError(t, err)
		require.True(t, v.Deleted)
		kept, ok := keeps.Value()
		require.True(t, ok)
		for _, next := range []string{"next", "then"} {
			e.Up.Set("k", next)
			mustYield(t, sub, next)
		}
		require.Equal(t, "kept", string(kept.Data))
	})
}

// Several readers of a key who all say so, fast and slow ones, do not get into
// one another's way.
func TestReuseDataOfSeveralReaders(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		type reader struct {
			sub  *follower.Subscription
			want string
			data []byte
		}
		var readers [3]reader
		for i := range readers {
			readers[i].sub = mustSubscribe(t, e.Client, "k", follower.ReuseData())
		}
		random := rand.New(rand.NewPCG(1, 0))
		for round := range 500 {
			want := fmt.Sprintf("value %d", round)
			e.Up.Set("k", want)
			synctest.Wait()
			for _, i := range random.Perm(len(readers)) {
				if random.IntN(2) == 0 {
					readers[i].want, readers[i].data = want, mustYield(t, readers[i].sub, want).Data
				}
			}
			for i, r := range readers {
				require.Equal(t, r.want, string(r.data), "what reader %d has, in round %d", i, round)
			}
		}
	})
}
