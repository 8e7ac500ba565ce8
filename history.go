package clusterclient

import (
	"time"

	"github.com/clusterclient/clusterclient/internal/histogram"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// keptTerms is how many roles a client remembers.
const keptTerms = 64

// history is what a client remembers of the roles it has had. It is guarded by
// statusBoard.mu.
type history struct {
	terms     []Term // the newest last
	takeovers uint64
	gaps      histogram.Histogram
	reason    string // why the present role is about to end
}

// began notes a role that is taken after a time without one.
func (h *history) began(role Role, term uint64, who *clusterclientv1.Peer, gap time.Duration) {
	if len(h.terms) > 0 {
		h.takeovers++
		h.gaps.Observe(gap)
	}
	if len(h.terms) >= keptTerms {
		h.terms = append(h.terms[:0], h.terms[1:]...)
	}
	h.reason = ""
	h.terms = append(h.terms, Term{Role: role, Term: term, LeaderPID: int(who.GetPid()), Began: time.Now()})
}

// raised notes that the present role goes on in a higher term.
func (h *history) raised(term uint64) {
	if n := len(h.terms); n > 0 {
		h.terms[n-1].Term = term
	}
}

func (h *history) ended() {
	t := &h.terms[len(h.terms)-1]
	t.Ended, t.Reason = time.Now(), h.reason
}

// ending notes why the present role is about to end.
func (b *statusBoard) ending(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if reason != nil {
		b.history.reason = reason.Error()
	}
}

func (b *statusBoard) addHistory(s *Stats) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.Takeovers = b.history.takeovers
	s.Gaps = histogram.Sum(&b.history.gaps)
	s.Terms = append([]Term{}, b.history.terms...)
}
