package clusterclient_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
)

// Whoever asks says how much of it.
func TestQuery(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		for i := range 20 {
			key := fmt.Sprintf("app/%02d", i)
			up.Set(key, "v")
			mustYield(t, mustSubscribe(t, b, key), "v")
		}
		up.Hang(true)
		mustSubscribe(t, a, "other/Late") // has no value yet
		synctest.Wait()
		ask := func(q inspect.Query) (keys []string, l *inspect.Leadership) {
			name, err := b.Inspect(t.Context(), q)
			require.NoError(t, err)
			for _, k := range name.Leadership.Keys {
				keys = append(keys, k.Key)
			}
			return keys, name.Leadership
		}
		none, l := ask(inspect.Query{})
		require.Empty(t, none)
		require.Zero(t, l.Matched)
		require.Equal(t, 21, l.Upstream.Watches, "the number is told all the same")
		require.Nil(t, l.Followers[1].Holding)
		_, l = ask(inspect.Query{Followers: true})
		require.Equal(t, 20, l.Followers[1].Holding.Keys)

		all, l := ask(inspect.Everything())
		require.Len(t, all, 21)
		require.Equal(t, 21, l.Matched)
		require.IsIncreasing(t, all)
		some, l := ask(inspect.Query{Keys: true, Prefix: "app/1", Limit: 3})
		require.Equal(t, []string{"app/10", "app/11", "app/12"}, some)
		require.Equal(t, 10, l.Matched)
		some, _ = ask(inspect.Query{Keys: true, Text: "lATE"})
		require.Equal(t, []string{"other/Late"}, some)
		some, _ = ask(inspect.Query{Keys: true, Stale: true})
		require.Equal(t, []string{"other/Late"}, some)
		some, _ = ask(inspect.Query{Keys: true, Limit: 2})
		require.Equal(t, []string{"other/Late", "app/00"}, some, "first what is not fresh")
	})
}

// An answer without keys does not grow with their number.
func TestQueryWithoutKeysIsSmall(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		size := func() int {
			name, err := a.Inspect(t.Context(), inspect.Query{Followers: true})
			require.NoError(t, err)
			text, err := json.Marshal(name)
			require.NoError(t, err)
			return len(text)
		}
		mustSubscribe(t, b, "first")
		before := size()
		for i := range 1000 {
			mustSubscribe(t, b, fmt.Sprint("key ", i))
		}
		require.Less(t, size(), 2*before)
	})
}
