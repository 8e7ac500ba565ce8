package metrics_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/metrics"
)

const (
	book  = "../docs/operations.md"
	begin = "<!-- metrics: written by go test ./metrics with UPDATE=1 -->\n"
	end   = "<!-- end of metrics -->\n"
)

// The table in the run-book is that of the code.
func TestDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Prometheus | OpenTelemetry | kind | labels | what |\n|---|---|---|---|---|\n")
	for _, m := range metrics.All() {
		_, _ = fmt.Fprintf(&table, "| `%s` | `%s` (%s) | %v | %s | %s |\n", m.Name, m.Instrument, m.Unit, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	text, err := os.ReadFile(book)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "%s has no place for the table", book)
	have, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(book, []byte(before+begin+table.String()+end+after), 0o600))
		return
	}
	require.Equal(t, table.String(), have, "UPDATE=1 writes it anew")
}

// The alerts, and whatever else the run-book says, are of metrics that there
// are.
func TestRunBookNamesMetrics(t *testing.T) {
	text, err := os.ReadFile(book)
	require.NoError(t, err)
	known := make(map[string]bool)
	for _, m := range metrics.All() {
		known[m.Name] = true
	}
	found := regexp.MustCompile(`\bclusterclient_[a-z_]+`).FindAllString(string(text), -1)
	require.Greater(t, len(found), len(known))
	for _, name := range found {
		require.True(t, known[strings.TrimSuffix(name, "_bucket")], name)
	}
}

func TestConventions(t *testing.T) {
	seen := make(map[string]bool)
	for _, m := range metrics.All() {
		require.Regexp(t, `^clusterclient_[a-z_]+$`, m.Name)
		require.Regexp(t, `^clusterclient\.[a-z_.]+$`, m.Instrument)
		require.Equal(t, m.Kind == metrics.Counter, strings.HasSuffix(m.Name, "_total"), "%s is a %v", m.Name, m.Kind)
		require.Equal(t, m.Unit == "s", strings.HasSuffix(m.Name, "_seconds"), "%s is in %q", m.Name, m.Unit)
		require.False(t, seen[m.Name] || seen[m.Instrument], "%s is there twice", m.Name)
		seen[m.Name], seen[m.Instrument] = true, true
		require.True(t, strings.HasSuffix(m.Help, "."), "%s: %s", m.Name, m.Help)
	}
}

// What only a leader knows is not told as 0 by others.
func TestPoints(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		cluster := clustertest.New(t, clustertest.NewUpstream())
		leads, follows := cluster.Start().Stats(), cluster.Start().Stats()
		for _, m := range metrics.All() {
			for _, st := range []*clusterclient.Stats{&leads, &follows} {
				points := m.Points(st)
				if strings.HasPrefix(m.Name, "clusterclient_leader_") && st == &follows {
					require.Empty(t, points, m.Name)
				} else if len(m.Labels) == 0 && m.Name != "clusterclient_leader_snapshot_age_seconds" {
					require.Len(t, points, 1, m.Name)
				}
				for _, p := range points {
					require.Len(t, p.Labels, len(m.Labels), m.Name)
				}
			}
		}
	})
}
