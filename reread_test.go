package clusterclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

func TestSilentWatchIsFound(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates())
		quiet := mustSubscribe(t, e.Client, "quiet")
		mustYield(t, sub, "one")
		mustYield(t, quiet, "same")
		e.Up.Mute()
		e.Up.Set("k", "two")
		lost := time.Now()
		time.Sleep(6 * time.Minute)
		v := mustNext(t, sub)
		if v.Repeated {
			require.ErrorContains(t, v.Reason, "was silent")
			v = mustNext(t, sub)
		}
		require.Equal(t, "two", string(v.Data))
		require.LessOrEqual(t, time.Since(lost), 6*time.Minute)
		mustStayQuiet(t, quiet)
		require.Equal(t, 1, e.Up.WatchesStarted("quiet"), "watches of a key that has not changed")
		require.Equal(t, uint64(1), e.Cluster.Leader().Stats().Leading.SilentWatches)
	}, func(e *env) {
		e.Up.Set("k", "one")
		e.Up.Set("quiet", "same")
	})
}

func TestRereadCanBeSwitchedOff(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start(clusterclient.WithReread(0))
		sub := mustSubscribe(t, a, "k")
		mustYield(t, sub, "one")
		up.Mute()
		up.Set("k", "two")
		time.Sleep(24 * time.Hour)
		mustStayQuiet(t, sub)
		_, err := cluster.TryStart("other", clusterclient.WithReread(-1))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
	})
}
