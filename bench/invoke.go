package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The loads of calls, by their names in tables.
const (
	loadOne     = "1 in flight"
	loadSome    = "64 in flight"
	loadMany    = "512 in flight"
	loadCallers = "4 callers × 512"
)

const (
	inFlightSome = 64
	inFlightMany = 512
)

// fewest is how many calls, or updates, a figure for each is made from at least.
const fewest = 100

// invokeScenario echoes 100 bytes, by every peer.
func invokeScenario(l *lab) error {
	var pairs []*callPair
	for _, name := range callPeers() {
		pair, err := l.startPair(name, l.size.callers)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		pairs = append(pairs, pair)
	}
	if err := l.interleave(callVariants(l, pairs)); err != nil {
		return err
	}
	ends := map[string]*process{"leader": pairs[0].server, "follower": pairs[0].callers[0]}
	return l.profiled("invoke", ends, func() error {
		_, err := measureCalls(l.ctx, pairs[0].callers[:1], inFlightMany, profileSlices*l.size.slice)
		return err
	})
}

// callVariants are all pairs under all loads, load by load.
func callVariants(l *lab, pairs []*callPair) []variant {
	var variants []variant
	for _, load := range []struct {
		name              string
		callers, inFlight int
	}{{loadOne, 1, 1}, {loadSome, 1, inFlightSome}, {loadMany, 1, inFlightMany}, {loadCallers, l.size.callers, inFlightMany}} {
		for _, p := range pairs {
			if load.callers > len(p.callers) {
				continue
			}
			variants = append(variants, variant{load.name, p.name, func(d time.Duration) ([]measurement, error) {
				return measureCalls(l.ctx, p.callers[:load.callers], load.inFlight, d)
			}})
		}
	}
	return variants
}

// A callPair is a server's process and those of its callers.
type callPair struct {
	name    string
	server  *process // nil when each caller serves itself
	callers []*process
}

// A target is what a process has to know to take part in calls.
type target struct {
	Peer    string `json:"peer"`
	Address string `json:"address,omitempty"`
}

// startPair starts a peer's processes.
func (l *lab) startPair(name string, callers int) (*callPair, error) {
	p, err := peerNamed(name)
	if err != nil {
		return nil, err
	}
	at := target{Peer: name}
	if _, ok := p.(brokered); ok {
		if _, err := l.start("broker", at, &at.Address); err != nil {
			return nil, err
		}
	}
	pair := &callPair{name: name}
	if _, ok := p.(selfServing); ok {
		callers = 1
	} else if pair.server, err = l.start("server", at, &at.Address); err != nil {
		return nil, err
	}
	for range callers {
		c, err := l.start("caller", at, nil)
		if err != nil {
			return nil, err
		}
		pair.callers = append(pair.callers, c)
	}
	return pair, nil
}

func startBroker(at target) (role, error) {
	p, err := peerNamed(at.Peer)
	if err != nil {
		return role{}, err
	}
	b, ok := p.(brokered)
	if !ok {
		return role{}, fmt.Errorf("%s has no broker", at.Peer)
	}
	address, stop, err := b.broker()
	return role{info: address, close: stop}, err
}

func startServer(at target) (role, error) {
	p, err := peerNamed(at.Peer)
	if err != nil {
		return role{}, err
	}
	address, stop, err := p.serve(at.Address)
	return role{info: address, close: stop}, err
}

func startCaller(at target) (role, error) {
	p, err := peerNamed(at.Peer)
	if err != nil {
		return role{}, err
	}
	call, stop, err := p.dial(at.Address)
	if err != nil {
		return role{}, err
	}
	return role{close: stop, ops: map[string]op{"calls": opOf(func(w callWork) (callResult, error) {
		return makeCalls(call, w)
	})}}, nil
}

// callWork says how to call; callResult is what came of it.
type callWork struct {
	InFlight int           `json:"in_flight"`
	Duration time.Duration `json:"duration"`
}

type callResult struct {
	Calls     int           `json:"calls"`
	Elapsed   time.Duration `json:"elapsed"`
	Latencies *histogram    `json:"latencies,omitempty"` // of one in flight
}

// makeCalls keeps a number of calls in flight for some time. With one in
// flight it looks at the clock around each, with more it only counts.
func makeCalls(call func(context.Context) error, w callWork) (callResult, error) {
	if w.InFlight == 1 {
		return makeSingleCalls(call, w.Duration)
	}
	var wg sync.WaitGroup
	var over atomic.Bool
	calls, errs := make([]int, w.InFlight), make([]error, w.InFlight)
	start := time.Now()
	for i := range w.InFlight {
		wg.Go(func() {
			n := 0
			for errs[i] == nil && !over.Load() {
				errs[i] = call(context.Background())
				if !over.Load() {
					n++
				}
			}
			calls[i] = n
		})
	}
	time.Sleep(w.Duration)
	over.Store(true)
	elapsed := time.Since(start)
	wg.Wait()
	r := callResult{Elapsed: elapsed}
	for _, n := range calls {
		r.Calls += n
	}
	return r, errors.Join(errs...)
}

func makeSingleCalls(call func(context.Context) error, d time.Duration) (callResult, error) {
	r := callResult{Latencies: new(histogram)}
	start := time.Now()
	for before := start; r.Elapsed < d || r.Calls < fewest; r.Calls++ {
		if err := call(context.Background()); err != nil {
			return r, err
		}
		now := time.Now()
		r.Latencies.record(now.Sub(before))
		before, r.Elapsed = now, now.Sub(start)
	}
	return r, nil
}

// measureCalls lets callers call at the same time.
func measureCalls(ctx context.Context, callers []*process, inFlight int, d time.Duration) ([]measurement, error) {
	results, err := all(callers, func(_ int, p *process) (r callResult, err error) {
		return r, p.do(ctx, "calls", callWork{inFlight, d}, &r)
	})
	if err != nil {
		return nil, err
	}
	if inFlight == 1 {
		return latencies(results[0].Latencies), nil
	}
	var rate float64
	for _, r := range results {
		rate += float64(r.Calls) / r.Elapsed.Seconds()
	}
	return []measurement{{"calls per second", "/s", rate}}, nil
}
