package clusterclient_test

import (
	"context"
	"iter"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/bubble"
)

// longEnough is more, in fake time, than anything takes that a test waits for:
// a takeover, and the longest pause before a watch is tried again.
const longEnough = time.Minute

// inBubble runs test in a bubble of fake time, with an upstream and a cluster
// that has no client yet.
func inBubble(t *testing.T, test func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster), opts ...clusterclient.Option) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		test(t, up, clustertest.New(t, up, opts...))
	})
}

// subscriber is what subscribes: a *clusterclient.Client or a *clustertest.Node.
type subscriber interface {
	Subscribe(context.Context, string, ...follower.SubscribeOption) (*follower.Subscription, error)
}

func mustSubscribe(t *testing.T, c subscriber, key string, opts ...follower.SubscribeOption) *follower.Subscription {
	t.Helper()
	sub, err := c.Subscribe(t.Context(), key, opts...)
	require.NoError(t, err, "Subscribe(%q)", key)
	return sub
}

// mustNext returns the next value.
func mustNext(t *testing.T, sub *follower.Subscription) follower.Value {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	v, err := sub.Next(ctx)
	require.NoError(t, err, "Next")
	return v
}

// mustYield checks that the next value is want.
func mustYield(t *testing.T, sub *follower.Subscription, want string) follower.Value {
	t.Helper()
	v := mustNext(t, sub)
	require.False(t, v.Deleted, "Next yields a deletion, want %q", want)
	require.Equal(t, want, string(v.Data), "Next")
	return v
}

// mustStayQuiet checks that no value comes for a while.
func mustStayQuiet(t *testing.T, sub *follower.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	v, err := sub.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "Next yields %q at %v, want no value", shorten(v.Data), v.Revision)
}

// mustBecome waits until c has the role.
func mustBecome(t *testing.T, c interface {
	StatusChanges(context.Context) iter.Seq[clusterclient.Status]
}, role clusterclient.Role,
) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longEnough)
	defer cancel()
	var last clusterclient.Status
	for last = range c.StatusChanges(ctx) {
		if last.Role == role {
			return
		}
	}
	require.Fail(t, "role not taken", "the role is %v, want %v; waiting: %s", last.Role, role, last.Waiting)
}

func shorten(data []byte) string {
	if len(data) > 80 {
		return string(data[:80]) + "… (" + strconv.Itoa(len(data)) + " bytes)"
	}
	return string(data)
}
