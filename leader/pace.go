package leader

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// paceQuick is the mean time below which a handler is quick; one that was
	// and takes longer than paceSlow in the mean is so no more. A goroutine
	// costs about a microsecond, and whoever waits behind a handler notices
	// some tens of them. The two are far enough apart for a handler to stay what
	// it is when now and then a run of it is interrupted.
	paceQuick = 15 * time.Microsecond
	paceSlow  = 30 * time.Microsecond

	// paceLongest is what a longer run counts as: the clock does not tell a
	// handler that waits from a process that was not given the processor. One
	// alone changes nothing, and half of paceWeight in a row do.
	paceLongest = 60 * time.Microsecond

	// paceWeight is how many runs the mean is taken over, about.
	paceWeight = 8

	// paceRuns is how many runs must be known before a handler is called
	// quick. Each time it is found not to be, the number doubles.
	paceRuns     = 32
	paceMostRuns = 1 << 20
)

// A pace is what the leader has found out about the time that a method's
// handler takes. The zero value is that of one that has never run.
type pace struct {
	quick atomic.Bool
	mean  atomic.Int64 // nanoseconds

	mu     sync.Mutex // guards what follows, and changes of the above
	runs   int        // since the handler was last found slow
	needed int        // to be called quick
}

// assume makes the handler count as quick until it is found not to be.
func (p *pace) assume() {
	p.needed = paceRuns
	p.quick.Store(true)
}

// measure runs the handler, and learns from it unless it is known well enough.
func (p *pace) measure(run func()) {
	if p.quick.Load() {
		run()
		return
	}
	start := time.Now()
	run()
	p.learn(time.Since(start))
}

// learn takes notice of one run.
func (p *pace) learn(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.needed == 0 {
		p.needed = paceRuns
		p.mean.Store(int64(paceSlow))
	}
	mean := p.mean.Load()
	mean += (int64(min(took, paceLongest)) - mean) / paceWeight
	p.mean.Store(mean)
	p.runs++
	switch quick := p.quick.Load(); {
	case quick && mean > int64(paceSlow):
		p.quick.Store(false)
		p.runs, p.needed = 0, min(2*p.needed, paceMostRuns)
	case !quick && mean < int64(paceQuick) && p.runs >= p.needed:
		p.quick.Store(true)
	}
}
