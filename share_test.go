package clusterclient_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// calling makes calls at once and returns how many of them run, and what the
// others failed with. Those that run send what they end with to ended.
func calling(t *testing.T, c *clustertest.Node, method string, times int, ended chan<- error) (int, []error) {
	t.Helper()
	answers := make(chan error, times)
	for range times {
		go func() { answers <- c.Invoke(context.Background(), method, nil, nil) }()
	}
	synctest.Wait()
	var refused []error
	for len(answers) > 0 {
		refused = append(refused, <-answers)
	}
	running := times - len(refused)
	go func() {
		for range running {
			ended <- <-answers
		}
	}()
	return running, refused
}

// A client that floods a slow method leaves some of its limit to others, and
// two that do leave some, too.
func TestFloodOfSlowCalls(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		slow := func(ctx context.Context, _ []byte) ([]byte, error) {
			select {
			case <-time.After(10 * time.Second):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "slow", slow, leader.Limit(16))
			leader.Handle(r, "shared", slow, leader.Limit(16), leader.Share(2))
			leader.Handle(r, "narrow", slow, leader.Limit(2))
		}
		cluster.Start()
		a, b, c := cluster.Start(asFollower), cluster.Start(asFollower), cluster.Start(asFollower)
		ended := make(chan error, 100)

		running, refused := calling(t, a, "slow", 50, ended)
		require.Equal(t, 12, running, "calls of one that is alone")
		for _, err := range refused {
			require.ErrorIs(t, err, clusterclient.ErrLimit)
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
			require.ErrorContains(t, err, `"slow" runs for pid `)
			require.ErrorContains(t, err, "as often as one client may have it; its limit is 16")
		}
		running, _ = calling(t, b, "slow", 50, ended)
		require.Equal(t, 3, running, "calls of one who comes while another floods")
		running, refused = calling(t, c, "slow", 50, ended)
		require.Equal(t, 1, running, "calls of one who comes while two others flood")
		require.ErrorContains(t, refused[0], `"slow" runs 16 times already, which is its limit`)

		for range 12 + 3 + 1 { // they are over at once
			require.NoError(t, <-ended)
		}
		shares := make(map[*clustertest.Node]int)
		for range 16 { // each has its turn
			for _, n := range []*clustertest.Node{a, b, c} {
				running, _ = calling(t, n, "slow", 1, ended)
				shares[n] += running
			}
		}
		require.Equal(t, map[*clustertest.Node]int{a: 5, b: 5, c: 5}, shares)

		running, _ = calling(t, a, "shared", 10, ended)
		require.Equal(t, 2, running)
		running, _ = calling(t, a, "narrow", 10, ended)
		require.Equal(t, 2, running)
	})
}
