package etcd

import (
	"context"
	"math/rand/v2"
	"time"
)

// pause waits for between half of d and d, so that hosts which lost etcd at
// the same time do not come back at the same time, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
