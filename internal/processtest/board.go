package processtest

import (
	"sync"
	"testing"
	"time"
)

// patience is how long WaitFor waits before the test fails. It is no
// expectation of how long anything takes.
const patience = 2 * time.Minute

// A Board is a mutex with a bell: whoever changes what it guards wakes those
// who wait for a condition of it.
type Board struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every change; guarded by mu
}

// NewBoard returns a Board.
func NewBoard() *Board { return &Board{changed: make(chan struct{})} }

// Lock locks the mutex, to read what the board guards.
func (b *Board) Lock() { b.mu.Lock() }

// Unlock unlocks the mutex.
func (b *Board) Unlock() { b.mu.Unlock() }

// Change does something with the mutex held and wakes WaitFor.
func (b *Board) Change(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	do()
	close(b.changed)
	b.changed = make(chan struct{})
}

// Wait returns true once cond, which is called with the mutex held, is true,
// and false when late fires before.
func (b *Board) Wait(late <-chan time.Time, cond func() bool) bool {
	for {
		b.mu.Lock()
		ok, changed := cond(), b.changed
		b.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// waitFor is Wait in a test, which fails when nothing comes of it.
func (b *Board) waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	if !b.Wait(late.C, cond) {
		t.Fatalf("%v have passed and it is not true that %s", patience, what)
	}
}

// Read returns what get, which is called with the mutex held, returns.
func Read[T any](b sync.Locker, get func() T) T {
	b.Lock()
	defer b.Unlock()
	return get()
}
