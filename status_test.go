package clusterclient_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

func TestStatus(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		began := time.Now()
		time.Sleep(time.Hour)
		b := cluster.Start()
		cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		mustNext(t, mustSubscribe(t, b, "k"))
		mustNext(t, mustSubscribe(t, b, "k"))
		_, err := b.Register(t.Context(), "service", []byte("here"))
		require.NoError(t, err)

		leads, follows := a.Status(), b.Status()
		require.True(t, leads.Since.Equal(began), "since when a leads: %v, want %v", leads.Since, began)
		require.True(t, follows.Since.Equal(began.Add(time.Hour)), "since when b follows: %v", follows.Since)
		leads.Since, follows.Since = time.Time{}, time.Time{}
		leads.RuntimeDir, follows.RuntimeDir = "", ""
		require.NotEmpty(t, leads.Build)
		require.Equal(t, clusterclient.Status{
			PID: os.Getpid(), Build: leads.Build, OwnsPort: true,
			Name: clustertest.Name, Address: portAddress, Role: clusterclient.RoleLeader, Term: 1,
			LeaderPID: os.Getpid(), LeaderAddress: portAddress,
			Upstream: clusterclient.UpstreamStatus{Open: true, Watches: 1}, Followers: 2, Candidates: 1,
		}, leads)
		require.Equal(t, clusterclient.Status{
			PID: os.Getpid(), Build: leads.Build,
			Name: clustertest.Name, Address: portAddress, Role: clusterclient.RoleFollower, Term: 1,
			LeaderPID: os.Getpid(), LeaderAddress: portAddress, Keys: 1, Subscriptions: 2, Registrations: 1,
		}, follows)

		text, err := json.Marshal(b.Status())
		require.NoError(t, err)
		require.Contains(t, string(text), `"role":"follower"`)
		require.NotContains(t, string(text), `"upstream"`)
	})
}

func TestStatusOfASingleProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		st := cluster.Start(clusterclient.WithSingleProcess()).Status()
		require.Equal(t, clusterclient.RoleLeader, st.Role)
		require.EqualValues(t, 1, st.Term)
		require.Empty(t, st.LeaderAddress)
		require.Zero(t, st.Followers)
		lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
		require.NoError(t, err, "a single process has bound the port")
		require.NoError(t, lis.Close())
	})
}

func TestStatusChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a := cluster.Start()
		b := cluster.Start()
		var seen []clusterclient.Status
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for st := range b.StatusChanges(context.Background()) {
				seen = append(seen, st)
			}
		}()
		synctest.Wait()
		require.Len(t, seen, 1, "the present status comes first, and nothing while nothing changes")
		require.Equal(t, clusterclient.RoleFollower, seen[0].Role)
		a.Kill()
		synctest.Wait()
		last := seen[len(seen)-1]
		require.Equal(t, clusterclient.RoleLeader, last.Role)
		require.EqualValues(t, 2, last.Term)
		require.Empty(t, last.Waiting)
		for _, st := range seen[1 : len(seen)-1] {
			require.Equal(t, clusterclient.RoleNone, st.Role, "between the terms")
			require.Zero(t, st.Term)
			require.NotEmpty(t, st.Waiting, "a client without a role waits for something")
		}

		require.NoError(t, b.Close())
		<-ended
		last = seen[len(seen)-1]
		require.Equal(t, clusterclient.RoleNone, last.Role)
		require.Contains(t, last.Waiting, "closed")
		require.Equal(t, last.Waiting, b.Status().Waiting)
		count := 0
		for range b.StatusChanges(t.Context()) {
			count++
		}
		require.Equal(t, 1, count, "statuses of a client that is closed")
	})
}

func TestStatusChangesEnds(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for range e.Client.StatusChanges(t.Context()) {
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		count := 0
		for range e.Client.StatusChanges(ctx) {
			count++
		}
		require.Equal(t, 1, count, "statuses while nothing changes")
	})
}

func TestResignOfLeaderOnly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		cluster := clustertest.New(t, clustertest.NewUpstream())
		agent := cluster.Start(clusterclient.WithRole(clusterclient.LeaderOnly))
		other := cluster.Start()
		require.NoError(t, agent.Resign(t.Context()))
		synctest.Wait()
		require.Equal(t, clusterclient.RoleLeader, other.Role())
		require.Equal(t, clusterclient.RoleNone, agent.Role())
	})
}
