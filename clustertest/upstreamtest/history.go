package upstreamtest

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/clusterclient/clusterclient/leader"
)

// A state is what a key is or was.
type state struct {
	data    []byte
	deleted bool
}

func stateOf(u leader.Update) state {
	return state{data: u.Data, deleted: u.Deleted}
}

func (s state) equal(t state) bool {
	return s.deleted == t.deleted && (s.deleted || bytes.Equal(s.data, t.data))
}

func (s state) String() string {
	switch {
	case s.deleted:
		return "deleted"
	case len(s.data) > 32:
		return fmt.Sprintf("%d bytes %q…", len(s.data), s.data[:32])
	default:
		return fmt.Sprintf("%q", s.data)
	}
}

// A history is all that was written to a key, in order. A key begins absent.
type history struct {
	mu     sync.Mutex
	states []state // guarded by mu
	acked  int     // index of the newest state that is known to be there; guarded by mu
}

func newHistory() *history { return &history{states: []state{{deleted: true}}} }

// begin notes a write before it happens, since it may be reported before it is
// acknowledged.
func (h *history) begin(s state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states = append(h.states, s)
}

// acknowledge notes that the newest write has happened.
func (h *history) acknowledge() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acked = len(h.states) - 1
}

// present returns the index of the newest acknowledged state.
func (h *history) present() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.acked
}

// newest returns the last state that was written.
func (h *history) newest() state {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.states[len(h.states)-1]
}

// find returns where s occurs at or after index from, or an error that says
// what s is instead.
func (h *history) find(s state, from int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, t := range h.states[from:] {
		if s.equal(t) {
			return from + i, nil
		}
	}
	for _, t := range h.states[:from] {
		if s.equal(t) {
			return 0, fmt.Errorf("reported %v, which is older than %v", s, h.states[from])
		}
	}
	return 0, fmt.Errorf("reported %v, which was never written", s)
}
