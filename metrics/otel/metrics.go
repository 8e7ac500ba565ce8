// Package otel tells OpenTelemetry what clients of a cluster do, and carries
// traces through their calls.
//
//	registration, err := otel.Register(meterProvider, client)
//
// docs/operations.md of the library lists the instruments. [Trace] makes a
// call one trace, from the caller through the leader to the upstream.
package otel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/metrics"
)

// scope names this package to OpenTelemetry.
const scope = "github.com/clusterclient/clusterclient/metrics/otel"

// nameKey carries the name of the cluster.
const nameKey = attribute.Key("clusterclient.name")

// attributes are the keys of the labels that metrics have.
var attributes = map[string]attribute.Key{
	"version": "clusterclient.version",
	"role":    "clusterclient.role",
	"reason":  "clusterclient.reason",
	"method":  "rpc.method",
	"code":    "rpc.response.status_code",
}

// Register makes the clients' metrics instruments of p, which are observed
// when p collects and cost nothing in between. Unregister of what it returns
// ends that. A histogram is two counters, of how many durations there were
// and of their sum.
func Register(p metric.MeterProvider, clients ...*clusterclient.Client) (metric.Registration, error) {
	meter := p.Meter(scope)
	r := &registrar{meter: meter}
	for _, m := range metrics.All() {
		if err := r.add(m); err != nil {
			return nil, err
		}
	}
	return meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, c := range clients {
			st := c.Stats()
			for _, observe := range r.observes {
				observe(o, &st)
			}
		}
		return nil
	}, r.all...)
}

// A registrar collects instruments, and how they are observed.
type registrar struct {
	meter    metric.Meter
	all      []metric.Observable
	observes []func(metric.Observer, *clusterclient.Stats)
}

func (r *registrar) add(m metrics.Metric) error {
	if m.Kind != metrics.Histogram {
		return r.instrument(m, m.Instrument, m.Unit, func(p metrics.Point) float64 { return p.Value })
	}
	err := r.instrument(m, m.Instrument+".count", "1", func(p metrics.Point) float64 { return float64(p.Histogram.Count) })
	if err != nil {
		return err
	}
	return r.instrument(m, m.Instrument+".sum", m.Unit, func(p metrics.Point) float64 { return p.Histogram.Sum })
}

func (r *registrar) instrument(m metrics.Metric, name, unit string, value func(metrics.Point) float64) error {
	var one metric.Float64Observable
	var err error
	if m.Kind == metrics.Gauge {
		one, err = r.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(m.Help))
	} else {
		one, err = r.meter.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(m.Help))
	}
	if err != nil {
		return err
	}
	r.all = append(r.all, one)
	r.observes = append(r.observes, func(o metric.Observer, st *clusterclient.Stats) {
		for _, p := range m.Points(st) {
			o.ObserveFloat64(one, value(p), metric.WithAttributes(attributesOf(st, m, p)...))
		}
	})
	return nil
}

func attributesOf(st *clusterclient.Stats, m metrics.Metric, p metrics.Point) []attribute.KeyValue {
	all := []attribute.KeyValue{nameKey.String(st.Name)}
	for i, label := range m.Labels {
		all = append(all, attributes[label].String(p.Labels[i]))
	}
	return all
}
