package leader

import (
	"context"
	"time"
)

const (
	// witnessesWanted is how many candidates are to know of a registration
	// before the upstream does, besides its owner and this leader: these two may
	// die at once, and be followed by another one.
	witnessesWanted = 2

	// witnessPatience bounds the wait for them; a candidate may be stopped.
	witnessPatience = 500 * time.Millisecond
)

// witnesses are candidates that have said that they know of a registration.
// Guarded by registrations.mu.
type witnesses struct {
	id     uint64 // of the question
	wanted int
	heard  map[*session]bool
	enough chan struct{}
}

// witnesses returns those to be waited for, before the upstream is told of what
// owner registers; nil if nobody could be one.
func (l *Leader) witnesses(owner Peer) *witnesses {
	could := 0
	for _, s := range l.allSessions() {
		if s.witnesses(owner) {
			could++
		}
	}
	if could == 0 {
		return nil
	}
	return &witnesses{wanted: min(could, witnessesWanted), heard: make(map[*session]bool), enough: make(chan struct{})}
}

// witnesses reports whether the follower may outlive both the leader and the
// owner, and says so when it knows of a registration.
func (s *session) witnesses(owner Peer) bool {
	return s.witness && !s.own() && s.peer.Instance != owner.Instance
}

// askLocked makes the candidates that are told of r confirm that.
func (rs *registrations) askLocked(r *registration) {
	if r.witnesses != nil {
		rs.asked++
		r.witnesses.id = rs.asked
		rs.waiting[rs.asked] = r
	}
}

// awaitWitnesses returns when enough candidates know of r, or are too slow.
func (rs *registrations) awaitWitnesses(ctx context.Context, r *registration) {
	rs.mu.Lock()
	w := r.witnesses
	rs.mu.Unlock()
	if w == nil {
		return
	}
	late := time.NewTimer(witnessPatience)
	defer late.Stop()
	select {
	case <-w.enough:
	case <-late.C:
		rs.l.log.Debug("registering although no other process has confirmed to know of it", "key", r.reg.Key)
	case <-ctx.Done():
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.witnesses = nil
	delete(rs.waiting, w.id)
}

// noted takes the word of one witness.
func (rs *registrations) noted(s *session, id uint64) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.waiting[id]
	if r == nil || !s.witnesses(r.reg.Owner) || r.witnesses.heard[s] {
		return
	}
	r.witnesses.heard[s] = true
	if len(r.witnesses.heard) == r.witnesses.wanted {
		close(r.witnesses.enough)
	}
}
