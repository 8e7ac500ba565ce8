package clusterclient_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// env is what a test of eachRole works with.
type env struct {
	T       *testing.T
	Up      *clustertest.Upstream
	Cluster *clustertest.Cluster
	Client  *clusterclient.Client // the caller's, in the role under test
	Node    *clustertest.Node     // that Client belongs to

	// Options of every client; set by a before function.
	Options []clusterclient.Option
}

// eachRole runs test for a caller in the leader's process, for one in a
// follower's, and for one alone in a single process: the role must not change
// what a caller sees. Each runs in a bubble of fake time. The before functions
// prepare e.Up and e.Options; nothing has been started then. The leader and
// the follower have the other one beside them in e.Cluster.
func eachRole(t *testing.T, test func(t *testing.T, e *env), before ...func(e *env)) {
	t.Helper()
	run := func(name string, start func(e *env)) {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				e := &env{T: t, Up: clustertest.NewUpstream()}
				for _, b := range before {
					b(e)
				}
				e.Cluster = clustertest.New(t, e.Up, e.Options...)
				start(e)
				e.Client = e.Node.Client
				test(t, e)
			})
		})
	}
	run("leader", func(e *env) {
		e.Node = e.Cluster.Start()
		follower := e.Cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, e.Node.Role())
		require.Equal(t, clusterclient.RoleFollower, follower.Role())
	})
	run("follower", func(e *env) {
		leader := e.Cluster.Start()
		e.Node = e.Cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, leader.Role())
		require.Equal(t, clusterclient.RoleFollower, e.Node.Role())
	})
	run("follower, quick handlers, started watches", func(e *env) {
		quick(e)
		e.Up.Starts = true
		leader := e.Cluster.Start()
		e.Node = e.Cluster.Start()
		require.Equal(t, clusterclient.RoleLeader, leader.Role())
		require.Equal(t, clusterclient.RoleFollower, e.Node.Role())
	})
	run("single", func(e *env) {
		e.Node = e.Cluster.Start(clusterclient.WithSingleProcess())
		require.Equal(t, clusterclient.RoleLeader, e.Node.Role())
	})
}

// quick makes the leader run the handlers of all methods where their calls are
// received, whatever they do.
func quick(e *env) {
	register := e.Up.Methods
	e.Up.Methods = func(r *leader.Registry) {
		if register != nil {
			register(r)
		}
		for _, name := range r.Unary() {
			r.Configure(name, leader.Quick())
		}
	}
}

func TestEachRole(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		v, err := e.Client.Get(t.Context(), "k")
		require.NoError(t, err)
		require.Equal(t, "one", string(v.Data))
	}, func(e *env) { e.Up.Set("k", "one") })
}
