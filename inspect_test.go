package clusterclient_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
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

func echoAndFail(r *leader.Registry) {
	leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	leader.Handle(r, "fail", func(context.Context, []byte) ([]byte, error) { return nil, status.Error(codes.Aborted, "no") })
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
