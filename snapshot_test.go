package clusterclient_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
)

// withSnapshot runs test, in each role, in a cluster that has lived before and
// left a snapshot of "k", "gone" and "empty".
func withSnapshot(t *testing.T, test func(t *testing.T, e *env), before ...func(e *env)) {
	t.Helper()
	eachRole(t, test, append([]func(*env){func(e *env) {
		dir := filepath.Join(e.T.TempDir(), "snapshots")
		e.Options = append(e.Options, clusterclient.WithSnapshot(dir))
		e.Up.Set("k", "one")
		e.Up.Set("empty", "")
		e.Up.Delete("gone")
		past := clustertest.New(e.T, e.Up, e.Options...)
		node := past.Start()
		for _, key := range []string{"k", "empty", "gone"} {
			mustNext(e.T, mustSubscribe(e.T, node, key))
		}
		time.Sleep(time.Second) // the writer does not wait for each value
		node.Kill()
		time.Sleep(time.Hour)
	}}, before...)...)
}

func TestSnapshotStandsInForTheUpstream(t *testing.T) {
	withSnapshot(t, func(t *testing.T, e *env) {
		began := time.Now()
		sub := mustSubscribe(t, e.Client, "k", follower.WithStates())
		v := mustYield(t, sub, "one")
		require.Zero(t, time.Since(began), "how long the value took")
		require.True(t, v.Stale)
		require.Equal(t, follower.OriginSnapshot, v.Origin)
		require.ErrorContains(t, v.Reason, "no route to host")
		require.Less(t, v.Since, began.Add(-time.Hour+time.Minute), "since when it is stale")
		require.True(t, mustNext(t, mustSubscribe(t, e.Client, "gone")).Deleted)
		require.Empty(t, mustNext(t, mustSubscribe(t, e.Client, "empty")).Data)
		require.False(t, e.Cluster.Leader().Status().Upstream.Open)
		require.Contains(t, e.Cluster.Leader().Status().Upstream.Trouble, "no route to host")

		_, err := e.Client.Get(t.Context(), "k", follower.FailClosed())
		require.ErrorIs(t, err, clusterclient.ErrStale)
		unknown := mustSubscribe(t, e.Client, "unknown")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = unknown.Next(ctx)
		require.ErrorContains(t, err, "no route to host", "a key that is not in the snapshot")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = e.Client.Publish(ctx, "k", []byte("two"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no route to host")

		e.Up.FailOpen(nil)
		old := v
		for v.Stale {
			v = mustNext(t, sub)
			require.True(t, v.Repeated, "%q is yielded", v.Data)
		}
		require.Equal(t, follower.OriginLive, v.Origin)
		require.Positive(t, v.Revision.Compare(old.Revision))
		require.NoError(t, e.Client.Publish(t.Context(), "k", []byte("three")))
		mustYield(t, sub, "three")
		require.True(t, mustNext(t, unknown).Deleted)
		require.True(t, e.Cluster.Leader().Status().Upstream.Open)
	}, func(e *env) { e.Up.FailOpen(errors.New("no route to host")) })
}

func TestSnapshotDoesNotWaitForAnUpstreamThatHangs(t *testing.T) {
	withSnapshot(t, func(t *testing.T, e *env) {
		v := mustYield(t, mustSubscribe(t, e.Client, "k"), "one")
		require.True(t, v.Stale)
		require.ErrorContains(t, v.Reason, "is being opened")
		e.Up.Set("k", "two")
		called := make(chan error, 1)
		go func() { called <- e.Client.Publish(t.Context(), "l", []byte("x")) }()
		time.Sleep(10 * time.Second)
		require.Empty(t, called, "a call was started without an upstream")
		e.Up.HangOpen(false)
		require.NoError(t, <-called)
		mustYield(t, mustSubscribe(t, e.Client, "k", follower.FailClosed()), "two")
	}, func(e *env) { e.Up.HangOpen(true) })
}

func TestSnapshotIsNotUsedWhenTheUpstreamOpensAtOnce(t *testing.T) {
	withSnapshot(t, func(t *testing.T, e *env) {
		v := mustYield(t, mustSubscribe(t, e.Client, "k"), "two")
		require.Equal(t, follower.OriginLive, v.Origin)
	}, func(e *env) { e.Up.Set("k", "two") })
}

func TestSnapshotWhileTheWatchFails(t *testing.T) {
	withSnapshot(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k")
		began := time.Now()
		v := mustYield(t, sub, "one")
		require.Equal(t, follower.OriginSnapshot, v.Origin)
		require.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
		v = mustBeStale(t, sub)
		require.ErrorContains(t, v.Reason, "permission denied")
		e.Up.Set("k", "two")
		e.Up.FailWatches(nil)
		require.Equal(t, follower.OriginLive, mustYield(t, sub, "two").Origin)
	}, func(e *env) { e.Up.FailWatches(errors.New("permission denied")) })
}

func TestCreateFailsWithAnEmptySnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.FailOpen(errors.New("no route to host"))
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithSnapshot(filepath.Join(t.TempDir(), "s")))
		require.ErrorContains(t, err, "no route to host")
		_, err = cluster.TryStart(clustertest.Name, clusterclient.WithSnapshot(""))
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
	})
}

func TestResignAndCloseWhileTheSnapshotStandsIn(t *testing.T) {
	withSnapshot(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "k")
		mustYield(t, sub, "one")
		if n := e.Cluster.Followers(); len(n) > 0 {
			require.NoError(t, e.Cluster.Leader().Resign(t.Context()))
			if leads := e.Cluster.Leader(); leads != e.Node {
				require.NoError(t, leads.Close())
			}
		}
		mustStayQuiet(t, sub)
		require.Equal(t, "one", string(mustBeStale(t, sub).Data))
		require.NoError(t, e.Client.Close())
	}, func(e *env) { e.Up.FailOpen(errors.New("no route to host")) })
}

// A follower that knows better than the snapshot of a new leader keeps what it
// knows, until the upstream settles who is right.
func TestSnapshotIsOlderThanWhatAProcessRemembers(t *testing.T) {
	for _, upstreams := range []string{"new", "old"} {
		t.Run(upstreams, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				stale := clusterclient.WithSnapshot(filepath.Join(t.TempDir(), "s"))
				up.SetVersion("k", "old", "1")
				a := cluster.Start(stale)
				mustNext(t, mustSubscribe(t, a, "k"))
				time.Sleep(time.Second)
				a.Kill()
				b := cluster.Start() // has no snapshot
				follows := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				up.SetVersion("k", "new", "2")
				sub := mustSubscribe(t, follows, "k")
				mustYield(t, sub, "new")
				up.FailOpen(errors.New("no route to host"))
				b.Kill()
				c := cluster.Start(stale)
				require.Equal(t, follower.OriginSnapshot, mustYield(t, mustSubscribe(t, c, "k"), "old").Origin)
				mustStayQuiet(t, sub)
				require.Equal(t, "new", string(mustBeStale(t, sub).Data))

				if upstreams == "old" {
					up.SetVersion("k", "old", "1")
				}
				up.FailOpen(nil)
				if upstreams == "old" {
					mustYield(t, sub, "old")
				} else {
					mustStayQuiet(t, sub)
				}
				require.Equal(t, follower.OriginLive, mustBeFresh(t, sub).Origin)
			})
		})
	}
}

func overrideFile(t *testing.T, dir, key string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.override"))
	require.NoError(t, err)
	require.Len(t, all, 1, "directories for overrides")
	return filepath.Join(all[0], url.PathEscape(key))
}

func TestOverride(t *testing.T) {
	var dir string
	eachRole(t, func(t *testing.T, e *env) {
		sub := mustSubscribe(t, e.Client, "/app/limit")
		first := mustYield(t, sub, "one")
		file := overrideFile(t, dir, "/app/limit")
		require.NoError(t, os.WriteFile(file, []byte("by hand"), 0o600))
		began := time.Now()
		v := mustYield(t, sub, "by hand")
		require.LessOrEqual(t, time.Since(began), 2*time.Second, "how long that took")
		require.Equal(t, follower.OriginOverride, v.Origin)
		require.False(t, v.Stale)
		require.Positive(t, v.Revision.Compare(first.Revision))

		e.Up.Set("/app/limit", "two")
		synctest.Wait()
		e.Up.FailWatches(errors.New("unreachable"))
		mustStayQuiet(t, sub)
		require.Equal(t, follower.OriginOverride, mustBeFresh(t, sub).Origin)
		late, err := e.Client.Get(t.Context(), "/app/limit", follower.FailClosed())
		require.NoError(t, err)
		require.Equal(t, "by hand", string(late.Data))

		require.NoError(t, os.WriteFile(file, []byte("by hand, again"), 0o600))
		mustYield(t, sub, "by hand, again")
		require.NoError(t, os.Remove(file))
		v = mustYield(t, sub, "two")
		require.True(t, v.Stale, "the upstream is gone")
		e.Up.FailWatches(nil)
		e.Up.Set("/app/limit", "three")
		mustYield(t, sub, "three")
		mustBeFresh(t, sub)
	}, func(e *env) {
		dir = filepath.Join(e.T.TempDir(), "s")
		e.Options = append(e.Options, clusterclient.WithSnapshot(dir))
		e.Up.Set("/app/limit", "one")
	})
}

func TestOverrideOutlivesTheLeaderAndIsNotSaved(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		dir := filepath.Join(t.TempDir(), "s")
		opt := clusterclient.WithSnapshot(dir)
		up.Set("k", "one")
		a := cluster.Start(opt)
		b := cluster.Start(opt)
		sub := mustSubscribe(t, b, "k", follower.WithStates())
		mustYield(t, sub, "one")
		file := overrideFile(t, dir, "k")
		require.NoError(t, os.WriteFile(file, []byte("by hand"), 0o600))
		mustYield(t, sub, "by hand")
		a.Kill()
		v := mustTurn(t, sub, true, follower.OriginOverride)
		for v.Stale {
			v = mustNext(t, sub)
			require.Equal(t, "by hand", string(v.Data))
		}
		require.Equal(t, follower.OriginOverride, v.Origin)
		require.NoError(t, os.Remove(file))
		v = mustYield(t, sub, "one")
		require.Equal(t, follower.OriginLive, v.Origin)

		require.NoError(t, os.WriteFile(file, []byte("by hand"), 0o600))
		mustYield(t, sub, "by hand")
		b.Kill()
		require.NoError(t, os.Remove(file))
		up.FailOpen(errors.New("no route to host"))
		v = mustYield(t, mustSubscribe(t, cluster.Start(opt), "k"), "one")
		require.Equal(t, follower.OriginSnapshot, v.Origin)
	})
}

func TestOverridesThatAreNotUsed(t *testing.T) {
	book := new(logbook)
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		dir := filepath.Join(t.TempDir(), "s")
		up.Set("k", "one")
		a := cluster.Start(clusterclient.WithSnapshot(dir), book.option())
		sub := mustSubscribe(t, a, "k")
		mustYield(t, sub, "one")
		file := overrideFile(t, dir, "k")
		require.NoError(t, os.Mkdir(file, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), ".k.swp"), []byte("an editor's"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "%zz"), []byte("no key"), 0o600))
		mustStayQuiet(t, sub)
		require.Len(t, book.with("[WARN]", "override not used", "is not a regular file"), 1)
		require.Len(t, book.with("[WARN]", "override not used", "its name is no key"), 1)
		require.NoError(t, os.Remove(file))
		if os.Geteuid() == 0 {
			require.NoError(t, os.WriteFile(file, []byte("somebody's"), 0o600))
			require.NoError(t, os.Chown(file, 12345, 12345))
			mustStayQuiet(t, sub)
			require.Len(t, book.with("[WARN]", "override not used", "belongs to user 12345"), 1)
		}
	})
}
