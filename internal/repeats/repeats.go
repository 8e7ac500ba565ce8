// Package repeats keeps what happens again and again from filling a log.
package repeats

import (
	"sync"
	"time"
)

const (
	// Every is how often the same thing is logged.
	Every = time.Minute

	// maxThings is how many are told apart; the others count as one.
	maxThings = 256
)

// Repeats knows what was logged lately. The zero value is ready to use. It is
// safe for concurrent use.
type Repeats struct {
	mu     sync.Mutex // guards what follows
	things map[string]*thing
}

type thing struct {
	logged time.Time
	times  int // since then
}

// Due counts what has happened. It reports whether that is to be logged, and
// how often it has happened since it was logged last.
func (r *Repeats) Due(what string) (times int, due bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.thingLocked(what, now)
	t.times++
	if !t.logged.IsZero() && now.Sub(t.logged) < Every {
		return t.times, false
	}
	times, t.times, t.logged = t.times, 0, now
	return times, true
}

// thingLocked forgets what has not happened for a while when there is too
// much.
func (r *Repeats) thingLocked(what string, now time.Time) *thing {
	if r.things == nil {
		r.things = make(map[string]*thing)
	}
	if r.things[what] == nil && len(r.things) >= maxThings {
		for other, t := range r.things {
			if now.Sub(t.logged) >= Every {
				delete(r.things, other)
			}
		}
		if len(r.things) >= maxThings {
			what = ""
		}
	}
	if r.things[what] == nil {
		r.things[what] = &thing{}
	}
	return r.things[what]
}
