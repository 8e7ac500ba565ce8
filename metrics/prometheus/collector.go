// Package prometheus tells Prometheus what clients of a cluster do.
//
//	registry.MustRegister(prometheus.NewCollector(client))
//
// docs/operations.md of the library lists the metrics, has alerts worth having,
// and a dashboard.
package prometheus

import (
	client "github.com/prometheus/client_golang/prometheus"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/metrics"
)

// nameLabel carries the name of the cluster.
const nameLabel = "cluster"

// A Collector tells what clients do when it is asked. It costs nothing in
// between. Its methods are safe for concurrent use.
type Collector struct {
	clients []*clusterclient.Client
	metrics []described
}

var _ client.Collector = (*Collector)(nil)

type described struct {
	metrics.Metric
	desc *client.Desc
}

// NewCollector returns a Collector of the clients, whose names must differ. A
// client that was closed goes on to be told of, as one without a role.
func NewCollector(clients ...*clusterclient.Client) *Collector {
	c := &Collector{clients: clients}
	for _, m := range metrics.All() {
		labels := append([]string{nameLabel}, m.Labels...)
		c.metrics = append(c.metrics, described{m, client.NewDesc(m.Name, m.Help, labels, nil)})
	}
	return c
}

// Describe sends all descriptions there are.
func (c *Collector) Describe(to chan<- *client.Desc) {
	for _, m := range c.metrics {
		to <- m.desc
	}
}

// Collect sends what there is to tell now.
func (c *Collector) Collect(to chan<- client.Metric) {
	for _, cl := range c.clients {
		st := cl.Stats()
		for _, m := range c.metrics {
			for _, p := range m.Points(&st) {
				to <- m.metric(st.Name, p)
			}
		}
	}
}

func (m *described) metric(name string, p metrics.Point) client.Metric {
	labels := append([]string{name}, p.Labels...)
	switch m.Kind {
	case metrics.Counter:
		return client.MustNewConstMetric(m.desc, client.CounterValue, p.Value, labels...)
	case metrics.Histogram:
		buckets := make(map[float64]uint64)
		for _, b := range p.Histogram.Buckets {
			buckets[b.LE] = b.Count
		}
		return client.MustNewConstHistogram(m.desc, p.Histogram.Count, p.Histogram.Sum, buckets, labels...)
	case metrics.Gauge:
	}
	return client.MustNewConstMetric(m.desc, client.GaugeValue, p.Value, labels...)
}
