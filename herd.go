package clusterclient

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// herdFree is how many sessions a leader may have had for its followers to
	// connect to the next one at once. With more of them each waits for a
	// random time, which grows by herdEach with every further session.
	herdFree    = 16
	herdEach    = 2 * time.Millisecond
	herdLongest = time.Second
)

// spread waits before a client that has just lost its leader connects to the
// next one: not at all where there are few, so that few are served again at
// once, and else so long that the new leader is not asked by all in one
// instant. Whoever can lead has tried to bind the port by then.
func (c *Client) spread(ctx context.Context) {
	if most := herdPause(c.driver.TakeCrowd()); most > 0 {
		sleep(ctx, rand.N(most)) //nolint:gosec // it only spreads load
	}
}

// herdPause returns how long a follower of a leader that had so many sessions
// waits at most.
func herdPause(sessions int) time.Duration {
	return min(time.Duration(max(0, sessions-herdFree))*herdEach, herdLongest)
}
