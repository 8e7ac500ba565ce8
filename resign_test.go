package clusterclient_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// letOthersGoFirst is for how long one that resigned leaves the leadership to
// others.
const letOthersGoFirst = 3 * time.Second

// TestResignThatNobodyTakesUp resigns while another process could lead, which is
// lost before the port is free.
func TestResignThatNobodyTakesUp(t *testing.T) {
	for name, row := range map[string]struct {
		hit   func(*clustertest.Node)
		owner string // name of who has the port, if it is another
	}{
		"killed": {hit: (*clustertest.Node).Kill}, "frozen": {hit: (*clustertest.Node).Freeze},
		"closed":                              {hit: func(n *clustertest.Node) { _ = n.Close() }},
		"frozen, while another owns the port": {hit: (*clustertest.Node).Freeze, owner: "other"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Methods = func(r *leader.Registry) {
					leader.Handle(r, "work", func(context.Context, []byte) ([]byte, error) { time.Sleep(time.Second); return nil, nil })
				}
				if row.owner != "" {
					_, err := cluster.TryStart(row.owner)
					require.NoError(t, err)
				}
				a, b := cluster.Start(), cluster.Start()
				caller := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				worked := make(chan error, 1)
				go func() { worked <- caller.Invoke(t.Context(), "work", []byte("now"), nil) }()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), longEnough)
				defer cancel()
				resigned := make(chan error, 3)
				began := time.Now()
				for range cap(resigned) {
					go func() { resigned <- a.Resign(ctx) }()
				}
				synctest.Wait()
				row.hit(b)
				require.NoError(t, <-worked, "what holds the leaving up")
				for range cap(resigned) {
					err := <-resigned
					require.ErrorIs(t, err, clusterclient.ErrNoCandidate)
					require.ErrorContains(t, err, fmt.Sprintf("none of the others that could (1) has led within %v", letOthersGoFirst))
				}
				took := time.Since(began)
				require.GreaterOrEqual(t, took, letOthersGoFirst)
				require.LessOrEqual(t, took, 3*letOthersGoFirst)
				mustBecome(t, a, clusterclient.RoleLeader)
			}, clusterclient.WithStrictlyOneUpstream())
		})
	}
}

// TestResignThatNobodyTakesUpWithoutTheUpstream does not open again in the
// process that resigned: who leads is certain all the same.
func TestResignThatNobodyTakesUpWithoutTheUpstream(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		up.HangOpen(true)
		b.Freeze()
		ctx, cancel := context.WithTimeout(t.Context(), longEnough)
		defer cancel()
		require.ErrorIs(t, a.Resign(ctx), clusterclient.ErrNoCandidate)
		require.Equal(t, clusterclient.RoleNone, a.Role())
		up.HangOpen(false)
		mustBecome(t, a, clusterclient.RoleLeader)
	}, clusterclient.WithStrictlyOneUpstream())
}

// TestResignOfOneThatLeadsAgainLater has another process lead in between, though
// only for a moment.
func TestResignOfOneThatLeadsAgainLater(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		a, b := cluster.Start(), cluster.Start()
		go func() {
			for st := range a.StatusChanges(t.Context()) {
				if st.Role == clusterclient.RoleFollower {
					b.Kill()
					return
				}
			}
		}()
		require.NoError(t, a.Resign(t.Context()))
		mustBecome(t, a, clusterclient.RoleLeader)
	}, clusterclient.WithStrictlyOneUpstream())
}
