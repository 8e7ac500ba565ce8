package processtest

import "sync"

// A termWatch tells many what term a client is in, of which one finds out: to
// ask for a client's status takes a look at the disk.
type termWatch struct {
	mu      sync.Mutex // guards what follows
	term    uint64
	over    bool
	changed sync.Cond
}

func newTermWatch() *termWatch {
	w := new(termWatch)
	w.changed.L = &w.mu
	return w
}

func (w *termWatch) set(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term = term
	w.changed.Broadcast()
}

func (w *termWatch) get() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.term
}

// end is called once the client is closed.
func (w *termWatch) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term, w.over = 0, true
	w.changed.Broadcast()
}

// after waits for a term above one, and returns it; false means that there is
// none to come.
func (w *termWatch) after(term uint64) (uint64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.term <= term && !w.over {
		w.changed.Wait()
	}
	return w.term, !w.over
}
