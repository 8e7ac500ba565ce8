package main

import "fmt"

// A goal is a ratio, or a figure, that this library is meant to reach.
type goal struct {
	scenario, load, metric string
	peer, against          string // against is empty for a plain figure
	atLeast                bool   // else at most
	limit                  float64
}

// A verdict says whether a goal was reached.
type verdict struct {
	What     string `json:"what"`
	Measured string `json:"measured"`
	Goal     string `json:"goal"`
	Met      bool   `json:"met"`
	Noisy    bool   `json:"noisy,omitempty"`
}

func (v verdict) word() string {
	word := "no"
	if v.Met {
		word = "yes"
	}
	if v.Noisy {
		word += ", but TOO NOISY"
	}
	return word
}

func targets() []goal {
	const rate = "calls per second"
	return []goal{
		{"invoke", loadSome, rate, ours, grpcUnary, true, 6},
		{"invoke", loadMany, rate, ours, grpcUnary, true, 12},
		{"invoke", loadMany, rate, ours, natsPeer, true, 4},
		{"invoke", loadMany, rate, ours, rawTCP, true, 0.6},
		{"invoke", loadOne, "p50", ours, grpcUnary, false, 0.65},
		{"invoke", loadOne, "p99", ours, grpcUnary, false, 1},
		{"invoke", loadMany, rate, oursStub, grpcUnary, true, 6},
		{"invoke", loadOne, "p50", oursLocal, "", false, 3},
		{"fanout", loadFlat, "deliveries per second", ours, natsPeer, true, 1.8},
		{"fanout", loadFlat, "deliveries per second", ours, grpcStream, true, 2.8},
		{"fanout", loadFlat, "deliveries per second", oursReusing, natsPeer, true, 1.8},
		{"fanout", loadFlat, "deliveries per second", oursReusing, grpcStream, true, 2.8},
		{"fanout", loadFlat, "deliveries per second", oursOneReaderReuses, natsOneReader, true, 1.8},
		{"fanout", loadFlat, "deliveries per second", oursOneReaderReuses, grpcStream, true, 2.8},
		{"fanout", loadPaced, "p99", ours, natsPeer, false, 0.75},
		{"etcd", loadEtcd, "p99", ours, etcdProxy, false, 0.65},
		{"etcd", loadEtcd, "processor time", ours, etcdProxy, false, 0.65},
		{"etcd", loadEtcd, "connections at etcd", ours, "", false, 1},
		{"etcd", loadEtcd, "watchers at etcd", ours, "", false, 1},
		{"isolation", loadSmall, "p99", isolationLarge, isolationQuiet, false, 3},
		{"isolation", loadSmall, "p99", isolationFlood, isolationQuiet, false, 3},
		{"growth", loadHot, "leader's allocations per update", grownName(fullSize.manyKeys, fewSessions), grownName(fewKeys, fewSessions), false, 1.1},
		{"growth", loadHot, "leader's allocations per update", grownName(fewKeys, manySessions), grownName(fewKeys, fewSessions), false, 1.1},
		{"growth", loadHotCalls, "leader's allocations per call", grownName(fullSize.manyKeys, fewSessions), grownName(fewKeys, fewSessions), false, 1.1},
		{"growth", loadHotCalls, "leader's allocations per call", grownName(fewKeys, manySessions), grownName(fewKeys, fewSessions), false, 1.1},
		{"memory", loadIdle, "leader's memory per follower", ours, "", false, 64},
		{"memory", loadManyKeys(fullSize.manyKeys), "follower's memory per key", ours, "", false, 1024},
		{"metrics", loadMeteredCalls, processorOfCall, metered, unmetered, false, 1.05},
		{"metrics", loadMeteredUpdates, processorOfUpdate, metered, unmetered, false, 1.05},
		{"node", loadMany, rate, oursJSON, nodePeer, true, 4},
		{"node", loadOne, "p50", oursJSON, nodePeer, false, 0.6},
	}
}

// judge compares what was measured; false when it was not.
func (g goal) judge(r *report) (verdict, bool) {
	own := r.find(g.scenario, g.load, g.peer, g.metric)
	if own == nil {
		return verdict{}, false
	}
	got, unit, noisy := own.Median, " "+own.Unit, own.Noisy
	what := fmt.Sprintf("%s, %s: %s of %s", g.scenario, g.load, g.metric, g.peer)
	if g.against != "" {
		other := r.find(g.scenario, g.load, g.against, g.metric)
		if other == nil || other.Median == 0 {
			return verdict{}, false
		}
		got, unit, noisy = got/other.Median, "×", noisy || other.Noisy
		what += " to " + g.against
	}
	sign, met := "≤", got <= g.limit
	if g.atLeast {
		sign, met = "≥", got >= g.limit
	}
	return verdict{
		What: what, Measured: fmt.Sprintf("%.2f%s", got, unit), Goal: fmt.Sprintf("%s %g%s", sign, g.limit, unit),
		Met: met, Noisy: noisy,
	}, true
}
