// Package metrics lists what can be measured of a client, for any system that
// takes measurements. The modules metrics/prometheus and metrics/otel hand the
// list to Prometheus and OpenTelemetry; [All] is for others.
//
// All of it comes from [clusterclient.Client.Stats] when it is asked for.
// Between two measurements it costs nothing.
package metrics

import (
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

// A Kind says how a metric moves.
type Kind int

const (
	// Gauge goes up and down.
	Gauge Kind = iota
	// Counter only grows, and begins at 0 with a client or, when its name
	// has "leader" in it, with each leadership.
	Counter
	// Histogram counts durations in seconds, and begins as a Counter does.
	Histogram
)

// String returns "gauge", "counter" or "histogram".
func (k Kind) String() string {
	switch k {
	case Gauge:
		return "gauge"
	case Counter:
		return "counter"
	case Histogram:
		return "histogram"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// A Metric is one thing to measure.
type Metric struct {
	// Name is that of Prometheus, such as "clusterclient_calls_total".
	Name string

	// Instrument is the name of OpenTelemetry, such as "clusterclient.calls".
	// A histogram has two instruments, with ".count" and ".sum" behind it.
	Instrument string

	// Unit is that of OpenTelemetry: "s", "1", or what is counted in braces.
	Unit string

	Kind Kind
	Help string

	// Labels are what tells the points of one client apart, beside the
	// cluster's name.
	Labels []string

	// Points returns what there is to say now: nothing, for what only a
	// leader knows, while the client does not lead.
	Points func(*clusterclient.Stats) []Point
}

// A Point is one measurement.
type Point struct {
	Labels    []string // in the order of Metric.Labels
	Value     float64
	Histogram inspect.Histogram // of a Histogram, instead of Value
}

// All returns the list. It does not change while the program runs.
func All() []Metric { return append(ofClient(), ofLeader()...) }

// value makes Points of a single number.
func value(get func(*clusterclient.Stats) float64) func(*clusterclient.Stats) []Point {
	return func(s *clusterclient.Stats) []Point { return []Point{{Value: get(s)}} }
}

// leading makes Points of a number that only a leader has.
func leading(get func(*clusterclient.Stats) float64) func(*clusterclient.Stats) []Point {
	return func(s *clusterclient.Stats) []Point {
		if s.Leading == nil {
			return nil
		}
		return []Point{{Value: get(s)}}
	}
}

// age is how many seconds ago t was; 0 for no time at all.
func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(0, time.Since(t).Seconds())
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
