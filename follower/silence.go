package follower

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// silenceGrace is how much later than asked for a timer may run before that
// shows that this process did not get to run itself. What the leader said
// meanwhile then has to be read before it is accused.
const silenceGrace = time.Second

// A silence notices that the leader of a link has not been heard for
// Config.StaleAfter, and tells the keys when it begins and when it ends.
type silence struct {
	f     *Follower
	since atomic.Pointer[time.Time] // when the silence began; nil when there is none; changed with mu held

	mu    sync.Mutex // guards what follows
	timer *time.Timer
	heard time.Time // when the leader was heard last
	spent bool      // the grace
}

func (s *silence) start(f *Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.f, s.heard = f, time.Now()
	s.timer = time.AfterFunc(f.cfg.StaleAfter, s.begin)
}

func (s *silence) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer.Stop()
}

// begin is called when the timer has run.
func (s *silence) begin() {
	if s.settle() {
		s.f.wakeKeys()
	}
}

// settle decides whether the leader is silent.
func (s *silence) settle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	late := time.Since(s.heard) - s.f.cfg.StaleAfter
	switch {
	case late < 0: // it was heard just now
		return false
	case late >= silenceGrace && !s.spent:
		s.spent = true
		s.timer.Reset(silenceGrace)
		return false
	}
	since := s.heard.Add(s.f.cfg.StaleAfter)
	s.since.Store(&since)
	return true
}

// end notes that the leader was heard.
func (s *silence) end() {
	s.mu.Lock()
	was := s.since.Swap(nil) != nil
	s.heard, s.spent = time.Now(), false
	s.timer.Reset(s.f.cfg.StaleAfter)
	s.mu.Unlock()
	if was {
		s.f.wakeKeys()
	}
}

// silent returns since when values are stale because the leader is silent.
// Everybody who looks at a value asks.
func (s *silence) silent() (since time.Time, silent bool) {
	if p := s.since.Load(); p != nil {
		return *p, true
	}
	return time.Time{}, false
}

// silentError returns an error if the leader is silent.
func (l *link) silentError() error {
	if _, silent := l.silence.silent(); !silent {
		return nil
	}
	return fmt.Errorf("the leader, %s, was heard last %v ago", l, time.Since(l.silence.last()).Round(time.Millisecond))
}

// last returns when the leader was last heard.
func (s *silence) last() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// wakeKeys makes every subscription look at its key again.
func (f *Follower) wakeKeys() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wakeKeysLocked()
}

func (f *Follower) wakeKeysLocked() {
	for _, k := range f.keys {
		k.mu.Lock()
		k.wakeLocked()
		k.mu.Unlock()
	}
}
