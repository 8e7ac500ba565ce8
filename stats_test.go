package clusterclient_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
)

func TestStats(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		e.Up.Set("k", "two")
		mustYield(t, sub, "two")
		var out []byte
		require.NoError(t, e.Client.Invoke(t.Context(), "echo", []byte("x"), &out))
		require.Error(t, e.Client.Invoke(t.Context(), "none", []byte("x"), &out))
		require.Error(t, e.Client.Invoke(t.Context(), "fail", []byte("x"), &out))
		synctest.Wait()

		st := e.Client.Stats()
		require.Equal(t, map[string]uint64{"OK": 1, "Unimplemented": 1, "Aborted": 1}, st.Calls)
		require.Zero(t, st.Takeovers)
		require.Len(t, st.Terms, 1)
		require.Equal(t, e.Client.Role(), st.Terms[0].Role)
		leads := e.Cluster.Leader().Stats().Leading
		require.EqualValues(t, 2, leads.Updates)
		require.EqualValues(t, 2, leads.Sent)
		require.EqualValues(t, 1, leads.Delays.Count)
		require.Equal(t, []inspect.Method{
			{Method: "echo", Calls: map[string]uint64{"OK": 1}},
			{Method: "fail", Calls: map[string]uint64{"Aborted": 1}},
		}, leads.Methods)
		text, err := json.Marshal(st)
		require.NoError(t, err)
		require.Contains(t, string(text), `"gaps":{"buckets":[`)
	}, func(e *env) {
		e.Up.Set("k", "one")
		e.Up.Methods = echoAndFail
	})
}

func TestStatsOfTakeovers(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		a.Kill()
		mustBecome(t, b, clusterclient.RoleLeader)
		st := b.Stats()
		require.EqualValues(t, 1, st.Takeovers)
		require.EqualValues(t, 1, st.Gaps.Count)
		require.Len(t, st.Terms, 2)
		require.Equal(t, clusterclient.RoleFollower, st.Terms[0].Role)
		require.False(t, st.Terms[0].Ended.IsZero())
		require.NotEmpty(t, st.Terms[0].Reason)
		require.Equal(t, clusterclient.RoleLeader, st.Terms[1].Role)
		require.EqualValues(t, 2, st.Terms[1].Term)
		require.True(t, st.Terms[1].Ended.IsZero())
	})
}

func TestStatsOfTheSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "0")
		a := cluster.Start()
		hung := newStallable(cluster)
		b := cluster.Start(hung.option())
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "0")
		big := string(make([]byte, 8<<20)) // more than the transport takes
		hung.stall()
		for i := range 5 {
			up.Set("k", big+string(rune('0'+i)))
			time.Sleep(100 * time.Millisecond)
		}
		name, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(cluster.Network.Host()))
		require.NoError(t, err)
		slow := name.Names[0].Leadership.Followers[1]
		require.Equal(t, 1, slow.Behind)
		require.Contains(t, slow.Trouble, "stopped")
		hung.release()
		for v, err := range sub.Values(t.Context()) {
			require.NoError(t, err)
			if v.Data[len(v.Data)-1] == '4' {
				break
			}
		}
		st := a.Stats().Leading
		require.Positive(t, st.Conflated)
		require.EqualValues(t, 6, st.Sent+st.Conflated)
		require.Positive(t, st.Delays.Sum)
	})
}

func TestStatsCountsWhoWasRejected(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithIdentity("other"))
		require.ErrorIs(t, err, clusterclient.ErrIdentityMismatch)
		rejected := a.Stats().Rejected
		require.Len(t, rejected, 1)
		require.Equal(t, "IDENTITY_MISMATCH", rejected[0].Code)
		require.EqualValues(t, 1, rejected[0].Count)
		require.Equal(t, os.Getpid(), rejected[0].Last.PID)
		require.Equal(t, rejected[0].Count, inspectOn(t, cluster).Names[0].Leadership.Rejected[0].Count)
	})
}

func echoAndFail(r *leader.Registry) {
	leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	leader.Handle(r, "fail", func(context.Context, []byte) ([]byte, error) { return nil, status.Error(codes.Aborted, "no") })
}
