package clusterclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
)

const (
	// A process that was killed may hold the port for some milliseconds after
	// its connections have ended, where [freedFirst] has no effect: the kernel
	// closes its descriptors one by one, and those whom that wakes are in its
	// way. Whoever connects meanwhile only makes it take longer. And who has
	// bound the port needs a moment to claim the lease. So the port is tried
	// again after pauses of this length, for so long.
	dyingRetryFirst   = time.Millisecond
	dyingRetryLongest = 2 * time.Millisecond
	dyingPatience     = 25 * time.Millisecond
)

// bind takes the cluster's port. It returns nil when somebody has it, or it is
// not for this client to take. led is what the lease tells.
func (c *Client) bind(ctx context.Context, led lease.Record) (net.Listener, error) {
	retry := backoff.Backoff{Min: dyingRetryFirst, Max: dyingRetryLongest}
	began := time.Now()
	for {
		if c.opts.candidate() && !c.term.yielding() {
			lis, err := c.opts.network.Listen(ctx, c.address)
			switch {
			case err == nil:
				return lis, nil
			case !errors.Is(err, syscall.EADDRINUSE):
				return nil, c.unbindable(err)
			}
		}
		if time.Since(began) > dyingPatience || !c.dying(led) {
			return nil, nil
		}
		if err := retry.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// dying reports whether the leader that was lost had the port, and nobody has
// taken its place yet.
func (c *Client) dying(led lease.Record) bool {
	_, leader, lost := c.term.known()
	return lost && led.Address == c.address && led.Instance == hex.EncodeToString(leader) &&
		!led.Vacant(c.lease.Host()) && !c.lease.Followed(led)
}

// unbindable explains why the port cannot be bound at all.
func (c *Client) unbindable(err error) error {
	switch {
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("bind %s: no descriptors left, raise the limit (ulimit -n): %w", c.address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return c.final(errs.Invalid, fmt.Errorf("bind %s: this host has no such address, so this process cannot lead; give it WithRole(FollowerOnly): %w", c.address, err))
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return c.final(errs.Invalid, fmt.Errorf("bind %s: not permitted for this user, choose a port above 1023: %w", c.address, err))
	}
	return c.final(errs.Unspecified, fmt.Errorf("bind %s: %w", c.address, err))
}
