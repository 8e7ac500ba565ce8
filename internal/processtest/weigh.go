package processtest

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient"
)

// A Weight is what a process holds.
type Weight struct {
	Goroutines, Descriptors int
	Heap                    uint64 // bytes that are in use
}

// weigh says what this process holds, for [Child.Weigh].
func weigh() string {
	runtime.GC()
	runtime.GC() // what a pool holds is let go by the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	open, _ := os.ReadDir("/proc/self/fd")
	return fmt.Sprint(runtime.NumGoroutine(), len(open), m.HeapAlloc)
}

// Weigh returns what the child holds, once it has collected its garbage.
func (c *Child) Weigh() (w Weight) {
	c.w.T.Helper()
	if _, err := fmt.Sscan(c.Must(Command{Op: "weigh"}).Data, &w.Goroutines, &w.Descriptors, &w.Heap); err != nil {
		c.w.T.Fatal(err)
	}
	return w
}

// measure calls a method until ctx ends, with pauses, and returns the 99th
// percentile of how long that took.
func measure(ctx context.Context, client *clusterclient.Client, c Command) (time.Duration, error) {
	var took []time.Duration
	for ctx.Err() == nil {
		began := time.Now()
		var result Whoami
		if err := client.Invoke(context.WithoutCancel(ctx), c.Method, c.Data, &result); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		wait(ctx, c.Pause)
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}
