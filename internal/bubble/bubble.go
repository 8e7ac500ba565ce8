// Package bubble opens the bubbles of testing/synctest for the tests of this
// repository, in a way that the race detector survives.
//
// Go 1.26 gives the timers of a bubble one context of the race detector, for
// whichever thread runs them. That is the thread of the bubble's root, and the
// thread of each goroutine that looks at the channel of a timer that has
// expired and that nobody waits for (runtime.(*timer).maybeRunChan). When two
// of them do so at once, they spoil the context's stack, and the process ends
// in a segmentation fault within ThreadSanitizer, once in some thousand
// bubbles of many goroutines. One processor is never at two places at once.
package bubble

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// Test is synctest.Test. Under the race detector the process runs on one
// processor while it lasts; tests outside of bubbles that run at the same time
// do, too.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	if raceDetector {
		one.take()
		defer one.giveBack()
	}
	synctest.Test(t, f)
}

// one is as global as what it sets.
var one processor

// processor keeps GOMAXPROCS at 1 while somebody needs it to be.
type processor struct {
	mu     sync.Mutex
	takers int
	before int
}

func (p *processor) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takers++; p.takers == 1 {
		p.before = runtime.GOMAXPROCS(1)
	}
}

func (p *processor) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.takers--; p.takers == 0 {
		runtime.GOMAXPROCS(p.before)
	}
}
