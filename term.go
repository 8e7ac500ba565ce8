package clusterclient

import (
	"sync"
	"time"
)

// yieldTime is how long a client that resigned leaves the leadership to others.
const yieldTime = 3 * time.Second

// termBook is what a client knows of the terms of its name.
type termBook struct {
	mu       sync.Mutex // guards what follows
	term     uint64     // highest seen
	leader   []byte     // instance that led in it
	lost     bool       // the session with it has ended
	yieldEnd time.Time  // until then others go first
	blind    bool       // this client gave way because it did not reach the upstream
	vacant   time.Time  // since when it has had no leader
}

// next returns the term of a leadership that this client begins by itself.
func (t *termBook) next() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.term + 1
}

// saw notes a term and who leads in it.
func (t *termBook) saw(term uint64, leader []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if term >= t.term {
		t.term, t.leader, t.lost = term, leader, false
	}
}

func (t *termBook) lose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost, t.vacant = true, time.Now()
}

func (t *termBook) known() (term uint64, leader []byte, lost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.term, t.leader, t.lost
}

// yield leaves the leadership to others for a while.
func (t *termBook) yield() { t.yieldFor(yieldTime) }

func (t *termBook) yieldFor(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if end := time.Now().Add(d); end.After(t.yieldEnd) {
		t.yieldEnd = end
	}
}

func (t *termBook) yielding() bool { return t.yieldsFor() > 0 }

// yieldsFor returns for how long others go first.
func (t *termBook) yieldsFor() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Until(t.yieldEnd)
}

// turnBlind notes that this client gives way because it does not reach the
// upstream.
func (t *termBook) turnBlind() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blind, t.vacant = true, time.Now()
}

func (t *termBook) see() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blind = false
}

func (t *termBook) isBlind() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.blind
}

// vacantFor returns for how long this client, which has no leader, has had
// none.
func (t *termBook) vacantFor() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(t.vacant)
}
