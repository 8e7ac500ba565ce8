package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// startLogging starts a process with a log of its own.
func startLogging(cluster *clustertest.Cluster, opts ...clusterclient.Option) (*clustertest.Node, *logbook) {
	book := new(logbook)
	return cluster.Start(append(opts, book.option())...), book
}

// changes returns the lines of changes of role.
func (b *logbook) changes() []string {
	return slices.DeleteFunc(b.with(""), func(line string) bool {
		return !slices.ContainsFunc([]string{": following: ", ": leading: ", ": leaving: ", ": leader gone: "}, func(turn string) bool {
			return strings.Contains(line, turn)
		})
	})
}

// mustTell checks that there is one line for each change of role, with what it
// has to tell.
func mustTell(t *testing.T, b *logbook, lines ...[]string) {
	t.Helper()
	synctest.Wait()
	require.Len(t, b.changes(), len(lines), "%q", b.changes())
	require.Subset(t, b.changes(), b.with("[INFO]"), "nothing else is told")
	for i, parts := range lines {
		for _, part := range parts {
			require.Contains(t, b.changes()[i], part)
		}
	}
}

// Each change of role is one line, with the term, the reason, and who.
func TestLogOfRoles(t *testing.T) {
	t.Run("killed", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, _ := startLogging(cluster)
			b, log := startLogging(cluster)
			a.Kill()
			mustBecome(t, b, clusterclient.RoleLeader)
			mustTell(t, log,
				[]string{"following", "term=1", "leader=\"pid ", portAddress},
				[]string{"leader gone", "term=1", "leader=\"pid ", "reason="},
				[]string{"leading", "term=2", "address=" + portAddress})
			require.Empty(t, log.with("[WARN]"))
		})
	})
	t.Run("resigned", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, of := startLogging(cluster)
			b, log := startLogging(cluster)
			require.NoError(t, a.Resign(t.Context()))
			mustBecome(t, b, clusterclient.RoleLeader)
			mustTell(t, of, []string{"leading", "term=1"}, []string{"leaving", "term=1", "reason=resigned"}, []string{"following", "term=2", "leader=\"pid "})
			mustTell(t, log, []string{"following", "term=1"}, []string{"leader gone", "term=1", "resigned"}, []string{"leading", "term=2"})
			require.Empty(t, append(of.with("[WARN]"), log.with("[WARN]")...))
		})
	})
	t.Run("closed", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, of := startLogging(cluster)
			b, log := startLogging(cluster)
			require.NoError(t, a.Close())
			mustBecome(t, b, clusterclient.RoleLeader)
			mustTell(t, of, []string{"leading", "term=1"}, []string{"leaving", "term=1", "closed"})
			mustTell(t, log, []string{"following", "term=1"}, []string{"leader gone", "term=1", "closed"}, []string{"leading", "term=2"})
		})
	})
	t.Run("hung", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, of := startLogging(cluster)
			b, log := startLogging(cluster)
			c, other := startLogging(cluster, clusterclient.WithRole(clusterclient.FollowerOnly))
			a.Freeze()
			mustBecome(t, b, clusterclient.RoleLeader)
			mustFollow(t, c, 2)
			a.Thaw()
			mustBecome(t, a, clusterclient.RoleFollower)
			mustTell(t, log, []string{"following", "term=1"},
				[]string{"[WARN]", "leader gone", "term=1", " at " + portAddress, "it hangs, silent for 10", "this process takes over in term 2"},
				[]string{"leading", "term=2"})
			mustTell(t, other, []string{"following", "term=1"}, []string{"leader gone", "term=1", "leads in term 2"}, []string{"following", "term=2"})
			mustTell(t, of, []string{"leading", "term=1"}, []string{"[WARN]", "leaving", "term=1", "term 2 has begun elsewhere"}, []string{"following", "term=2"})
		})
	})
	t.Run("deposed", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, of := startLogging(cluster)
			b, log := startLogging(cluster)
			_, err := depose(t, cluster, clustertest.Name)
			require.NoError(t, err)
			mustBecome(t, b, clusterclient.RoleLeader)
			mustBecome(t, a, clusterclient.RoleFollower)
			mustTell(t, of, []string{"leading", "term=1"}, []string{"[WARN]", "leaving", "term=1", "deposed by an operator, pid "}, []string{"following", "term=2"})
			mustTell(t, log, []string{"following", "term=1"}, []string{"leader gone", "term=1", "deposed by an operator, pid "}, []string{"leading", "term=2"})
		})
	})
	t.Run("deposed while it hangs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			patient := clusterclient.WithDeposeAfter(time.Hour)
			a, of := startLogging(cluster, patient)
			b, log := startLogging(cluster, patient)
			a.Freeze()
			_, err := depose(t, cluster, clustertest.Name)
			require.NoError(t, err)
			mustBecome(t, b, clusterclient.RoleLeader)
			a.Thaw()
			mustBecome(t, a, clusterclient.RoleFollower)
			mustTell(t, of, []string{"leading", "term=1"}, []string{"[WARN]", "leaving", "term=1", "term 3 has begun elsewhere"}, []string{"following", "term=3"})
			mustTell(t, log, []string{"following", "term=1"}, []string{"[WARN]", "leader gone", "term=1", "it hangs and was deposed by an operator, pid "}, []string{"leading", "term=3"})
		})
	})
	t.Run("deposed while it hangs, alone", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			a, of := startLogging(cluster)
			a.Freeze()
			_, err := depose(t, cluster, clustertest.Name)
			require.NoError(t, err)
			a.Thaw()
			time.Sleep(time.Minute)
			require.Equal(t, clusterclient.RoleLeader, a.Role())
			mustTell(t, of, []string{"leading", "term=1"}, []string{"[WARN]", "leaving", "term=1", "deposed by an operator, pid ", "since this process hung"}, []string{"leading", "term=3"})
		})
	})
	t.Run("beside the port", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
			cluster.Start()
			book := new(logbook)
			a, err := cluster.TryStart("other")
			require.NoError(t, err)
			b, err := cluster.TryStart("other", book.option())
			require.NoError(t, err)
			mustTell(t, book, []string{"following", "term=1", a.Status().LeaderAddress})
			require.NoError(t, a.Close())
			mustBecome(t, b, clusterclient.RoleLeader)
			require.Len(t, book.changes(), 3)
		})
	})
}

// An update is no line, whatever is made of it, and what goes on being wrong is
// one a minute.
func TestLogOfManyUpdates(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, of := startLogging(cluster)
		b, log := startLogging(cluster)
		bad := follower.Validate(func(v follower.Value) error { return errors.New("of no use") })
		for _, n := range []*clustertest.Node{a, b} {
			mustSubscribe(t, n, "k")
			sub := mustSubscribe(t, n, "k", bad)
			go func() {
				_, _ = sub.Next(t.Context()) // which nothing comes of
			}()
		}
		for i := range 1000 {
			up.Set("k", fmt.Sprint(i))
			time.Sleep(50 * time.Millisecond)
		}
		for _, book := range []*logbook{of, log} {
			require.Len(t, book.changes(), 1, "that of the role")
			require.Len(t, book.with("value rejected"), 1, "in 50 s")
		}
		time.Sleep(time.Minute)
		up.Set("k", "last")
		time.Sleep(time.Second)
		again := log.with("value rejected")
		require.Len(t, again, 2)
		require.NotContains(t, again[1], "times=1 ", "how many were passed over is told")
	})
}

// A handler that always fails or panics does not fill the log.
func TestLogOfManyFailures(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "fail", func(context.Context, int) (int, error) { return 0, errors.New("always") })
			leader.Handle(r, "panic", func(context.Context, int) (int, error) { panic("always") })
		}
		_, of := startLogging(cluster)
		b, _ := startLogging(cluster)
		for range 300 {
			require.NoError(t, b.InvokeOneway(t.Context(), "fail", 1))
			require.Error(t, b.Invoke(t.Context(), "panic", 1, nil))
			time.Sleep(100 * time.Millisecond)
		}
		require.Len(t, of.with("oneway call failed"), 1)
		require.Len(t, of.with("handler panicked"), 1)
		time.Sleep(time.Minute)
		require.NoError(t, b.InvokeOneway(t.Context(), "fail", 1))
		time.Sleep(time.Second)
		require.Len(t, of.with("oneway call failed", "times=300"), 1)
	})
}
