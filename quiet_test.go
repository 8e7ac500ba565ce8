package clusterclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// Neither values nor arguments nor secrets are in logs, statuses or errors.
func TestValuesAreNotTold(t *testing.T) {
	const value = "424242"
	var log bytes.Buffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Trace})
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "narrow", func(context.Context, int8) (int, error) { return 424242, nil })
		}
		up.Set("k", value)
		leads, follows := cluster.Start(), cluster.Start()
		var told []string
		for _, c := range []*clustertest.Node{leads, follows} {
			_, err := clusterclient.Get[int8](t.Context(), c.Client, "k")
			require.Error(t, err)
			told = append(told, err.Error())
			_, err = clusterclient.Invoke[int, int](t.Context(), c.Client, "narrow", 424242)
			require.Error(t, err)
			told = append(told, err.Error())
			_, err = clusterclient.Invoke[int, int8](t.Context(), c.Client, "narrow", 1)
			require.Error(t, err)
			told = append(told, err.Error())
			r, err := c.Register(t.Context(), "r", []byte(value))
			require.NoError(t, err)
			require.NoError(t, r.Close())
			require.NoError(t, c.Publish(t.Context(), "k", []byte(value)))
			st, err := json.Marshal(c.Status())
			require.NoError(t, err)
			told = append(told, string(st))
		}
		require.NoError(t, leads.Close())
		require.NoError(t, follows.Close())
		for _, text := range append(told, log.String()) {
			require.NotContains(t, text, value)
			require.NotContains(t, text, string(someSecret))
		}
		require.NotEmpty(t, log.String())
	}, clusterclient.WithLogger(logger), clusterclient.WithSecret(someSecret))
}
