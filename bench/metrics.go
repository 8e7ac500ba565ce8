package main

import (
	"context"
	"errors"
	"sync"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/metrics/otel"
	"github.com/clusterclient/clusterclient/metrics/prometheus"
)

const (
	loadMeteredCalls   = "calls, 64 in flight"
	loadMeteredUpdates = "updates, 4000 a second"

	metered   = "with both collectors"
	unmetered = "without"

	processorOfCall   = "processor time per call"
	processorOfUpdate = "processor time per update"

	// collectEvery is how often both collectors are asked, in both processes:
	// some fifteen times as often as is usual.
	collectEvery = time.Second

	meteredKeys = 100
	updatePause = 25 * time.Millisecond // between two updates of every key
)

// metricsScenario measures calls and updates while the collectors of
// Prometheus and of OpenTelemetry are attached and asked, in the leader and in
// a follower, and while they are not, in the same two processes.
func metricsScenario(l *lab) error {
	at := target{Peer: ours}
	leads, err := l.start("metered-leader", at, &at.Address)
	if err != nil {
		return err
	}
	follows, err := l.start("metered-follower", at, nil)
	if err != nil {
		return err
	}
	both := []*process{leads, follows}
	work := func(load, per string, collect bool, do func(d time.Duration) (n int, rate []measurement, err error)) variant {
		peer := unmetered
		if collect {
			peer = metered
		}
		return variant{load, peer, func(d time.Duration) ([]measurement, error) {
			for _, p := range both {
				if err := p.do(l.ctx, "collect", collect, nil); err != nil {
					return nil, err
				}
			}
			before, err := usage(l, both)
			if err != nil {
				return nil, err
			}
			n, got, err := do(2 * d)
			after, usageErr := usage(l, both)
			if err = errors.Join(err, usageErr); err != nil || n == 0 {
				return nil, err
			}
			return append(got, measurement{per, "µs", float64((after - before).Microseconds()) / float64(n)}), nil
		}}
	}
	calls := func(d time.Duration) (int, []measurement, error) {
		var r callResult
		err := follows.do(l.ctx, "calls", callWork{inFlightSome, d}, &r)
		return r.Calls, []measurement{{"calls per second", "/s", float64(r.Calls) / r.Elapsed.Seconds()}}, err
	}
	updates := func(d time.Duration) (n int, _ []measurement, err error) {
		return n, nil, leads.do(l.ctx, "updates", d, &n)
	}
	return l.interleave([]variant{
		work(loadMeteredCalls, processorOfCall, false, calls), work(loadMeteredCalls, processorOfCall, true, calls),
		work(loadMeteredUpdates, processorOfUpdate, false, updates), work(loadMeteredUpdates, processorOfUpdate, true, updates),
	})
}

// A meter is both collectors of one client, which are attached or not.
type meter struct {
	c    *clusterclient.Client
	stop func() // nil while they are not attached
}

func (m *meter) collect(attach bool) (none, error) {
	if m.stop != nil {
		m.stop()
		m.stop = nil
	}
	if !attach {
		return none{}, nil
	}
	registry, reader := client.NewRegistry(), metric.NewManualReader()
	registration, err := otel.Register(metric.NewMeterProvider(metric.WithReader(reader)), m.c)
	if err != nil {
		return none{}, err
	}
	if err := registry.Register(prometheus.NewCollector(m.c)); err != nil {
		return none{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	asking.Go(func() {
		tick := time.NewTicker(collectEvery)
		defer tick.Stop()
		for ctx.Err() == nil {
			_, _ = registry.Gather()
			_ = reader.Collect(ctx, new(metricdata.ResourceMetrics))
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	m.stop = func() {
		cancel()
		asking.Wait()
		_ = registration.Unregister()
	}
	return none{}, nil
}

// meteredUpstream has methods and keys.
type meteredUpstream struct {
	*echoUpstream
	keys *fanUpstream
}

func (u meteredUpstream) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	return u.keys.Watch(ctx, key, sink)
}

func startMeteredLeader(target) (role, error) {
	up := meteredUpstream{newEchoUpstream(), &fanUpstream{sinks: make([]func(leader.Update), meteredKeys)}}
	c, err := lead(up)
	if err != nil {
		return role{}, err
	}
	m := &meter{c: c}
	return role{info: c.Status().Address, close: c.Close, ops: map[string]op{
		"collect": opOf(m.collect),
		"updates": opOf(func(d time.Duration) (n int, err error) {
			tick := time.NewTicker(updatePause)
			defer tick.Stop()
			for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
				for key := range meteredKeys {
					n++
					err = errors.Join(err, up.keys.update(key, newValue(int64(n))))
				}
			}
			return n, err
		}),
	}}, nil
}

func startMeteredFollower(at target) (role, error) {
	c, err := follow(at.Address)
	if err != nil {
		return role{}, err
	}
	m := &meter{c: c}
	ready := make(chan error, meteredKeys)
	for key := range meteredKeys {
		go func() { ready <- subscribeKey(c, key, func([]byte) {}, ready) }()
	}
	for range meteredKeys {
		if err := <-ready; err != nil {
			return role{}, errors.Join(err, c.Close())
		}
	}
	call := callWith(c, callBytes)
	return role{close: c.Close, ops: map[string]op{
		"collect": opOf(m.collect),
		"calls":   opOf(func(w callWork) (callResult, error) { return makeCalls(call, w) }),
	}}, nil
}
