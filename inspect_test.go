package clusterclient_test

import (
	"context"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/inspect"
)

// inspectOn inspects the port of the cluster.
func inspectOn(t *testing.T, cluster *clustertest.Cluster) inspect.Cluster {
	t.Helper()
	report, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(cluster.Network.Host()))
	require.NoError(t, err)
	return report
}

func TestInspect(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		began := time.Now()
		upX, upY := clustertest.NewUpstream(), clustertest.NewUpstream()
		upX.Set("k", "one")
		x1 := mustStart(t, cluster, "X", upX)
		mustStart(t, cluster, "Y", upY)
		x2 := mustStart(t, cluster, "X", upX)
		mustYield(t, mustSubscribe(t, x2, "k"), "one")
		mustSubscribe(t, x2, "k")
		mustYield(t, mustSubscribe(t, x1, "k"), "one")
		_, err := x2.Register(t.Context(), "service", []byte("here"))
		require.NoError(t, err)

		synctest.Wait()
		report := inspectOn(t, cluster)
		require.Equal(t, portAddress, report.Address)
		require.Equal(t, os.Getpid(), report.Owner.PID)
		require.Equal(t, portAddress, report.Owner.Address)
		require.NotEmpty(t, report.Owner.Build)
		require.NotEmpty(t, report.Owner.Program)
		require.Len(t, report.Names, 2)
		x, y := report.Names[0], report.Names[1]
		require.Equal(t, []string{"X", "Y"}, []string{x.Name, y.Name})
		require.Equal(t, []string{inspect.Led, inspect.Led}, []string{x.State, y.State})
		require.NotEqual(t, portAddress, y.Leader.Address, "Y is led beside the port")
		require.NotNil(t, y.Leadership, "what the leader of Y says of itself: %s", y.Trouble)

		ship := x.Leadership
		require.True(t, ship.Since.Equal(began))
		require.Equal(t, inspect.Upstream{Open: true, Watches: 1}, ship.Upstream)
		require.Equal(t, 2, ship.Subscriptions, "each process counts once for a key")
		require.Equal(t, 1, ship.Candidates)
		require.Len(t, ship.Followers, 2)
		require.True(t, ship.Followers[0].Own, "the leader's own comes first")
		second := ship.Followers[1]
		require.True(t, second.Candidate)
		require.Equal(t, &inspect.Holding{Keys: 1, Subscriptions: 2, Registrations: 1}, second.Holding)
		require.Len(t, ship.Registrations, 1)
		require.Equal(t, "service", ship.Registrations[0].Key)
		require.Equal(t, second.Instance, ship.Registrations[0].Owner.Instance)
		require.Len(t, ship.Keys, 1)
		require.Equal(t, inspect.Watching, ship.Keys[0].Watch.State)
		require.Equal(t, inspect.Fresh, ship.Keys[0].Value.State)
		require.Equal(t, 3, ship.Keys[0].Value.Bytes)
		require.Equal(t, []int{os.Getpid(), os.Getpid()}, ship.Keys[0].Subscribers)
	})
}

func TestInspectOfAnOpeningLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.HangOpen(true)
		go cluster.TryStart(clustertest.Name) //nolint:errcheck // never comes up
		synctest.Wait()
		name := inspectOn(t, cluster).Names[0]
		require.Equal(t, inspect.Opening, name.State)
		require.Contains(t, name.Reason, "upstream")
		require.Nil(t, name.Leadership)
		up.HangOpen(false)
		synctest.Wait()
	})
}

func TestInspectNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		_, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(cluster.Network.Host()))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
	})
}

func TestInspectAStranger(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
		require.NoError(t, err)
		go func() {
			for {
				c, err := lis.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		_, err = clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(cluster.Network.Host()))
		require.ErrorIs(t, err, clusterclient.ErrForeignListener)
		require.NoError(t, lis.Close())
	})
}

// A leader that does not answer is in the report, with its trouble.
func TestInspectSilentLeaderOfAnotherName(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		mustStart(t, cluster, "X", up)
		y := mustStart(t, cluster, "Y", up)
		synctest.Wait() // until the owner of the port knows
		host := &deaf{Host: cluster.Network.Host(), address: y.Status().LeaderAddress}
		report, err := clusterclient.Inspect(t.Context(), clustertest.Port, inspect.Everything(), clusterclient.WithNetwork(host))
		require.NoError(t, err)
		require.NotNil(t, report.Names[0].Leadership)
		require.Nil(t, report.Names[1].Leadership)
		require.NotEmpty(t, report.Names[1].Trouble)
	})
}

func TestExplain(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		none, err := e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, inspect.Unwatched, none.Watch.State)
		require.Empty(t, none.Subscribers)
		require.Nil(t, none.Here)

		sub := mustSubscribe(t, e.Client, "k")
		v := mustYield(t, sub, "one")
		ex, err := e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		rev := inspect.Revision{Term: v.Revision.Term, Seq: v.Revision.Seq}
		require.Empty(t, ex.Trouble)
		require.Equal(t, clustertest.Name, ex.Name)
		require.Equal(t, os.Getpid(), ex.Leader.PID)
		require.EqualValues(t, 1, ex.Term)
		require.Equal(t, inspect.Watch{State: inspect.Watching}, ex.Watch)
		require.Equal(t, inspect.Fresh, ex.Value.State)
		require.Equal(t, rev, ex.Value.Revision)
		require.Equal(t, v.Version, ex.Value.Version)
		require.False(t, ex.Value.Changed.IsZero())
		require.Len(t, ex.Subscribers, 1)
		one := ex.Subscribers[0]
		require.Zero(t, one.Behind)
		require.Equal(t, e.Client.Role() == clusterclient.RoleLeader, one.Own)
		require.Equal(t, rev, one.Holding.Key.Revision)
		require.Equal(t, inspect.Fresh, one.Holding.Key.State)
		require.Equal(t, []inspect.Subscription{{Yielded: rev}}, one.Holding.OfKey)
		require.Equal(t, one.Holding.OfKey, ex.Here.OfKey)

		e.Up.Set("k", "two") // nobody asks the subscription for it
		synctest.Wait()
		ex, err = e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, []inspect.Subscription{{Yielded: rev, Behind: true}}, ex.Subscribers[0].Holding.OfKey)

		e.Up.FailWatches(errors.New("etcd is gone"))
		synctest.Wait()
		ex, err = e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, inspect.Retrying, ex.Watch.State)
		require.Contains(t, ex.Watch.Trouble, "etcd is gone")
		require.EqualValues(t, 1, ex.Watch.Failures)
		require.Equal(t, inspect.Stale, ex.Value.State)
		require.Equal(t, inspect.Stale, ex.Subscribers[0].Holding.Key.State)
		require.Contains(t, ex.Subscribers[0].Holding.Key.Reason, "etcd is gone")

		require.NoError(t, e.Client.Close())
		_, err = e.Client.Explain(t.Context(), "k")
		require.ErrorIs(t, err, clusterclient.ErrClosed)
	}, func(e *env) { e.Up.Set("k", "one") })
}

func TestExplainAQueueGroup(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		mustSubscribe(t, e.Client, "k", follower.QueueGroup("workers"))
		e.Up.Set("k", "one")
		for range 10 {
			e.Up.Set("k", time.Now().String())
			time.Sleep(time.Second)
		}
		ex, err := e.Client.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.Len(t, ex.Groups, 1)
		require.Equal(t, inspect.Group{Group: "workers", Members: 1, Queued: 3, Held: 8}, ex.Groups[0])
		require.Equal(t, []inspect.Subscription{{Group: "workers", Behind: true, Queued: 8}}, ex.Subscribers[0].Holding.OfKey)
	})
}

func TestExplainWhatIsNoKey(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for _, key := range []string{"", "\xff", strings.Repeat("k", 4097)} {
			_, err := e.Client.Explain(t.Context(), key)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Explain(%.20q)", key)
			_, err = clusterclient.Explain(t.Context(), clustertest.Name, clustertest.Port, key, clusterclient.WithNetwork(e.Cluster.Network.Host()))
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Explain(%.20q)", key)
		}
	})
}

func TestInspectAfterClose(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		require.NoError(t, e.Client.Close())
		_, err := e.Client.Inspect(t.Context(), inspect.Query{})
		require.ErrorIs(t, err, clusterclient.ErrClosed)
		_, err = e.Client.Explain(t.Context(), "k")
		require.ErrorIs(t, err, clusterclient.ErrClosed)
	})
}

func TestExplainWithoutALeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a, b := cluster.Start(), cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		mustYield(t, mustSubscribe(t, b, "k"), "one")
		a.Kill()
		mustBecome(t, b, clusterclient.RoleNone)
		synctest.Wait()
		ex, err := b.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.NotEmpty(t, ex.Trouble)
		require.Equal(t, inspect.Stale, ex.Here.Key.State)
		_, err = b.Inspect(t.Context(), inspect.Query{})
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
	})
}

// A follower that is stopped costs the one who asks a second, not more, and
// the others nothing.
func TestExplainWithAStoppedFollower(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start()
		stopped := newStallable(cluster)
		b := cluster.Start(stopped.option())
		mustYield(t, mustSubscribe(t, a, "k"), "one")
		mustYield(t, mustSubscribe(t, b, "k"), "one")
		stopped.stall()
		for range 20 { // more than a follower may leave unanswered
			asked := time.Now()
			ex, err := a.Explain(t.Context(), "k")
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(asked), time.Second)
			for _, sub := range ex.Subscribers {
				if sub.Own {
					require.NotNil(t, sub.Holding)
					continue
				}
				require.Nil(t, sub.Holding)
				require.Contains(t, sub.Trouble, "stopped")
			}
		}
		stopped.release()
		synctest.Wait()
		ex, err := a.Explain(t.Context(), "k")
		require.NoError(t, err)
		require.NotNil(t, ex.Subscribers[1].Holding, "the follower is asked again: %s", ex.Subscribers[1].Trouble)
	})
}

// deaf is the network of a process that gets no answer from one address.
type deaf struct {
	*clustertest.Host
	address string
}

func (d *deaf) Dial(ctx context.Context, address string) (net.Conn, error) {
	if address != d.address {
		return d.Host.Dial(ctx, address)
	}
	here, _ := net.Pipe()
	return here, nil
}

// A tool takes the identity over from what it sees.
func TestFingerprint(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		cluster.Start(clusterclient.WithIdentity("etcd", "prod"))
		identity, err := hex.DecodeString(inspectOn(t, cluster).Names[0].Identity)
		require.NoError(t, err)
		require.NotEmpty(t, identity)
		tool := cluster.Start(clusterclient.WithFingerprint(identity), clusterclient.WithRole(clusterclient.FollowerOnly))
		mustYield(t, mustSubscribe(t, tool, "k"), "one")
	})
}
