package leader

import (
	"cmp"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// Stats is a snapshot of what a leader does. The counts are of its term.
type Stats struct {
	Term          uint64            `json:"term"`
	Since         time.Time         `json:"since"`
	Followers     []Peer            `json:"followers"`              // in the order in which they came
	Candidates    int               `json:"candidates"`             // how many of them could lead
	Absent        string            `json:"absent,omitempty"`       // why there is no upstream
	Keys          int               `json:"keys"`                   // keys watched upstream
	StaleKeys     int               `json:"stale_keys"`             // keys the upstream does not vouch for
	StaleReason   string            `json:"stale_reason,omitempty"` // of one of them
	OldestStale   time.Time         `json:"oldest_stale,omitzero"`  // since when the one that is stale for the longest is
	Subscriptions int               `json:"subscriptions"`          // of followers, each key once for each
	Updates       uint64            `json:"updates"`                // values that the upstream reported
	WatchFailures uint64            `json:"watch_failures"`         // watches of the upstream that ended by themselves
	SilentWatches uint64            `json:"silent_watches"`         // watches begun anew because they had missed something
	Sent          uint64            `json:"sent"`                   // values sent to followers
	Conflated     uint64            `json:"conflated"`              // values left out for a newer one
	Delays        inspect.Histogram `json:"delays"`                 // from the upstream's report to a follower's transport
	Queued        int               `json:"queued"`                 // messages that wait to be sent to followers
	Methods       []inspect.Method  `json:"methods,omitempty"`
	Refused       uint64            `json:"refused"`       // calls, for want of room
	Running       int               `json:"running"`       // calls that run now
	OnewayFailed  uint64            `json:"oneway_failed"` // oneway calls whose handler failed
	Registrations int               `json:"registrations"`
}

// Stats returns a snapshot. It is consistent for each figure, not across them.
func (l *Leader) Stats() Stats {
	l.mu.Lock()
	st := Stats{
		Term: l.term.Load(), Since: l.since, Keys: len(l.keys), Running: l.running, OnewayFailed: l.failed.Load(),
		Updates: l.updates, WatchFailures: l.failures, SilentWatches: l.silent.Load(), Refused: l.refused.Load(), Methods: l.methods.stats(), Delays: l.delays(),
	}
	if l.up == nil {
		st.Absent = l.absence
	}
	keys := make([]*key, 0, len(l.keys))
	for _, k := range l.keys {
		keys = append(keys, k)
	}
	for _, s := range l.sessions {
		st.Followers = append(st.Followers, s.peer)
		if s.candidate {
			st.Candidates++
		}
		st.Queued += s.w.Queued()
	}
	l.mu.Unlock()
	slices.SortFunc(st.Followers, func(a, b Peer) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Instance, b.Instance))
	})
	for _, k := range keys {
		k.addTo(&st)
	}
	for i := range l.tallies {
		st.Sent += l.tallies[i].sent.Load()
		st.Conflated += l.tallies[i].conflated.Load()
	}
	st.Registrations = l.regs.count()
	return st
}

// addTo adds the key to the leader's figures.
func (k *key) addTo(st *Stats) {
	k.mu.Lock()
	defer k.mu.Unlock()
	st.Subscriptions += len(k.subs)
	st.Updates += k.updates
	st.WatchFailures += k.failures
	if !k.stale {
		return
	}
	st.StaleKeys++
	st.StaleReason = k.reason
	if st.OldestStale.IsZero() || k.since.Before(st.OldestStale) {
		st.OldestStale = k.since
	}
}
