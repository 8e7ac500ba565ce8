package prometheus_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/metrics"
	"github.com/clusterclient/clusterclient/metrics/prometheus"
)

// scrape returns what Prometheus reads, parsed by its own parser.
func scrape(t *testing.T, clients ...*clusterclient.Client) map[string]*dto.MetricFamily {
	t.Helper()
	registry := client.NewPedanticRegistry()
	registry.MustRegister(prometheus.NewCollector(clients...))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	require.Equal(t, 200, w.Code, "%s", text)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	require.NoError(t, err)
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	require.NoError(t, err)
	require.Empty(t, problems)
	return families
}

// busy makes a cluster that has something to tell.
func busy(t *testing.T) (leads, follows *clustertest.Node) {
	t.Helper()
	up := clustertest.NewUpstream()
	up.Set("k", "one")
	up.Methods = func(r *leader.Registry) {
		leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
	}
	cluster := clustertest.New(t, up)
	leads, follows = cluster.Start(clusterclient.WithSnapshot(t.TempDir())), cluster.Start()
	for _, n := range []*clustertest.Node{leads, follows} {
		sub, err := n.Subscribe(t.Context(), "k")
		require.NoError(t, err)
		_, err = sub.Next(t.Context())
		require.NoError(t, err)
	}
	up.Set("k", "two")
	var out []byte
	require.NoError(t, follows.Invoke(t.Context(), "echo", []byte("x"), &out))
	time.Sleep(2 * time.Second) // the snapshot is written within the first one
	synctest.Wait()
	return leads, follows
}

func TestCollector(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		leads, follows := busy(t)
		families := scrape(t, leads.Client)
		for _, m := range metrics.All() {
			if len(m.Labels) == 0 || m.Name == "clusterclient_role" {
				require.Contains(t, families, m.Name)
			}
		}
		value := func(name string) float64 {
			m := families[name].GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		require.EqualValues(t, 1, value("clusterclient_leader_followers"))
		require.EqualValues(t, 1, value("clusterclient_leader_upstream_watches"))
		require.EqualValues(t, 2, value("clusterclient_leader_subscriptions"))
		require.EqualValues(t, 2, value("clusterclient_leader_updates_total"))
		require.EqualValues(t, 4, value("clusterclient_leader_sent_values_total"))
		require.EqualValues(t, 1, value("clusterclient_leader_handled_calls_total"))
		delays := families["clusterclient_leader_delivery_delay_seconds"].GetMetric()[0].GetHistogram()
		require.EqualValues(t, 2, delays.GetSampleCount())
		require.InDelta(t, 1.5, value("clusterclient_leader_snapshot_age_seconds"), 0.5)

		families = scrape(t, follows.Client)
		require.NotContains(t, families, "clusterclient_leader_followers")
		call := families["clusterclient_calls_total"].GetMetric()[0]
		require.InDelta(t, 1, call.GetCounter().GetValue(), 0)
		require.Equal(t, "cluster", call.GetLabel()[0].GetName())
		require.Equal(t, clustertest.Name, call.GetLabel()[0].GetValue())
		require.Equal(t, "OK", call.GetLabel()[1].GetValue())
	})
}

func TestCollectorOfAClosedClient(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		leads, _ := busy(t)
		require.NoError(t, leads.Close())
		require.Contains(t, scrape(t, leads.Client), "clusterclient_role")
	})
}

// The dashboard asks for nothing that there is not.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../docs/grafana.json")
	require.NoError(t, err)
	require.True(t, json.Valid(text))
	known := make(map[string]bool)
	for _, m := range metrics.All() {
		known[m.Name] = true
		if m.Kind == metrics.Histogram {
			known[m.Name+"_bucket"], known[m.Name+"_count"], known[m.Name+"_sum"] = true, true, true
		}
	}
	asked := regexp.MustCompile(`clusterclient_[a-z_]+`).FindAllString(string(text), -1)
	require.Greater(t, len(asked), 10)
	for _, name := range asked {
		require.True(t, known[name], "the dashboard asks for %s", name)
	}
}
