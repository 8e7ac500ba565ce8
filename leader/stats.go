package leader

import (
	"cmp"
	"slices"
)

// Stats is a snapshot of what a leader does.
type Stats struct {
	Term          uint64
	Followers     []Peer // in the order in which they came
	Candidates    int    // how many of them could lead
	Keys          int    // keys watched upstream
	StaleKeys     int    // keys the upstream does not vouch for
	StaleReason   string // of one of them
	Running       int    // calls that run now
	OnewayFailed  uint64 // oneway calls whose handler failed
	Registrations int
}

// Stats returns a snapshot. It is consistent for each figure, not across them.
func (l *Leader) Stats() Stats {
	l.mu.Lock()
	st := Stats{Term: l.term.Load(), Keys: len(l.keys), Running: l.running, OnewayFailed: l.failed.Load()}
	keys := make([]*key, 0, len(l.keys))
	for _, k := range l.keys {
		keys = append(keys, k)
	}
	for _, s := range l.sessions {
		st.Followers = append(st.Followers, s.peer)
		if s.candidate {
			st.Candidates++
		}
	}
	l.mu.Unlock()
	slices.SortFunc(st.Followers, func(a, b Peer) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Instance, b.Instance))
	})
	for _, k := range keys {
		if reason, stale := k.staleness(); stale {
			st.StaleKeys++
			st.StaleReason = reason
		}
	}
	st.Registrations = l.regs.count()
	return st
}
