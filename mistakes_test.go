package clusterclient_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// What no result could be decoded into is refused before the method runs.
func TestInvalidReply(t *testing.T) {
	var runs atomic.Int32
	eachRole(t, func(t *testing.T, e *env) {
		runs.Store(0)
		for _, reply := range []any{"", map[string]int{}, (*string)(nil), (*wrapperspb.StringValue)(nil)} {
			err := e.Client.Invoke(t.Context(), "count", 1, reply)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "%T", reply)
			require.ErrorContains(t, err, fmt.Sprintf("the reply is a %T", reply))
		}
		require.Zero(t, runs.Load(), "runs of the method")
		require.NoError(t, e.Client.Invoke(t.Context(), "count", 1, nil))
		require.EqualValues(t, 1, runs.Load(), "runs of the method")
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "count", func(context.Context, int) (string, error) { runs.Add(1); return "done", nil })
		}
	})
}

// Whoever waits for the keys of a set is told for what.
func TestWhatSubscriptionsWaitFor(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads := cluster.Start()
		c := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		set, err := c.SubscribeAll(t.Context(), nil)
		require.NoError(t, err)
		next := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := set.Next(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return err
		}
		require.ErrorContains(t, next(), "while waiting: no key is watched")
		require.NoError(t, set.Add("k"))
		_, err = set.Next(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, next(), "while waiting: no value has changed")
		leads.Kill()
		synctest.Wait()
		require.ErrorIs(t, next(), clusterclient.ErrNoLeader)

		require.NoError(t, c.Close())
		_, err = c.SubscribeAll(t.Context(), nil)
		require.ErrorIs(t, err, clusterclient.ErrClosed)
	})
}

// Whoever can only follow is told what it takes, also where there is a cluster.
func TestNobodyLeadsTheName(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		mustStart(t, cluster, "other", up)
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithRole(clusterclient.FollowerOnly), clusterclient.WithMaxWait(time.Second))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorContains(t, err, "nobody leads the name; it takes a process that can (one with WithUpstream)")
	})
}

// A resignation that is given up beforehand changes nothing, and one that is
// given up meanwhile says what it waited for.
func TestResignGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		leads := cluster.Start()
		cluster.Start()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.EqualError(t, leads.Resign(ctx), `clusterclient: resign (cluster "test"): context canceled`)
		up.HangOpen(true)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := leads.Resign(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, fmt.Sprintf("while waiting: pid %d: not ready yet", os.Getpid()))
		require.Equal(t, clusterclient.RoleLeader, leads.Role())
		up.HangOpen(false)
	})
}
