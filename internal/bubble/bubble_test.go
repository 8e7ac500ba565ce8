package bubble_test

import (
	"sync"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// Goroutines that look at expired timers at once crash the race detector within
// a second when the bubble is one of synctest.Test on two processors.
func TestRaceDetectorSurvivesTimersThatNobodyWaitsFor(t *testing.T) {
	for range 50 {
		bubble.Test(t, func(*testing.T) {
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					for range 200 {
						timer := time.NewTimer(time.Millisecond)
						time.Sleep(time.Millisecond)
						select {
						case <-timer.C:
						default:
						}
					}
				})
			}
			wg.Wait()
			time.AfterFunc(time.Millisecond, func() {})
			time.Sleep(2 * time.Millisecond)
		})
	}
}
