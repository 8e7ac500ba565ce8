package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/leader"
)

const (
	// blindLook is how often a leader looks whether it has been blind for too
	// long, and blindAsk how long it waits before it asks others again.
	blindLook = time.Second
	blindAsk  = 5 * time.Second

	// blindAsked is how many others it asks at a time. Each of them connects
	// to an upstream that may be about to break down.
	blindAsked = 3

	// blindPatience bounds the probe of a client that would lead again.
	blindPatience = time.Second
)

// A blindError is why a blind leader gives way.
type blindError struct {
	since  time.Time
	reason string
	to     leader.Peer
}

func (e *blindError) Error() string {
	return fmt.Sprintf("blind for %v, and pid %d reaches the upstream: %s", time.Since(e.since).Round(time.Millisecond), e.to.PID, e.reason)
}

func (e *blindError) alarming() {}

// Is makes it a way to resign.
func (e *blindError) Is(target error) bool { return target == errResigned }

// watchSight ends a leadership when [WithResignWhenBlind] says so,
// until the function that it returns is called.
func (c *Client) watchSight(leading *leadership) (stop func()) {
	if c.opts.blindAfter == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for pause := blindLook; sleep(ctx, pause); {
			pause = blindLook
			since, _ := leading.Sight()
			if since.IsZero() || time.Since(since) < c.opts.blindAfter {
				continue
			}
			if err := c.giveWay(ctx, leading); err != nil {
				c.log.Debug("blind, and nobody else sees either", "since", since, "error", err)
				pause = blindAsk
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// giveWay hands the leadership to somebody else who reaches the upstream, and
// returns why not. If that one does not get ready in time it leads all the same,
// in the plain way.
func (c *Client) giveWay(ctx context.Context, leading *leadership) error {
	to, err := leading.Reaches(ctx, blindAsked)
	if err != nil {
		return err
	}
	since, reason := leading.Sight()
	if since.IsZero() {
		return nil // it sees again
	}
	leading.Name(to)
	if err := c.prepare(ctx, leading); err != nil {
		c.log.Warn("nobody is ready to succeed", "error", err)
	}
	c.term.turnBlind()
	leading.end(&blindError{since, reason, to})
	return nil
}

// An unopenedError is why a leader leaves the leadership whose upstream has not
// opened.
type unopenedError struct {
	after time.Duration
	cause error // of the program's probe
}

func (e *unopenedError) Error() string {
	return fmt.Sprintf("the upstream has not opened for %v: %v", e.after, e.cause)
}

func (e *unopenedError) Unwrap() error { return e.cause }

// watchUnopened makes a leader leave whose upstream does not open, fails or
// hangs, when [WithResignWhenBlind] says so and another candidate waits for the
// leadership. Nobody can be asked before there is a leader, so whoever comes next
// tries. It does so until the function that it returns is called.
func (c *Client) watchUnopened(ctx context.Context, srv *server, leave context.CancelCauseFunc) (stop func()) {
	if c.opts.blindAfter == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	began := time.Now()
	var watching sync.WaitGroup
	watching.Go(func() {
		for pause := c.opts.blindAfter; sleep(ctx, pause); pause = blindAsk {
			if !c.isHeld() || srv.couldLead.Load() == 0 {
				continue
			}
			probing, done := context.WithTimeout(ctx, blindPatience)
			err := c.probe(probing)
			done()
			if err != nil && ctx.Err() == nil {
				leave(&unopenedError{time.Since(began).Round(time.Millisecond), err})
				return
			}
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// leaveTo leaves the leadership to a successor that the leader has named.
func (c *Client) leaveTo(successor []byte) {
	if string(successor) != string(c.instance) {
		c.term.yield()
	}
}

// lookAgain keeps a client that gave way because it was blind from leading
// again while it still is, unless nobody else has led for some time.
func (c *Client) lookAgain(ctx context.Context) {
	if !c.opts.candidate() || !c.term.isBlind() || c.term.yielding() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, blindPatience)
	defer cancel()
	err := c.probe(ctx)
	switch {
	case err == nil:
		c.log.Info("this process reaches the upstream again")
		c.term.see()
	case c.term.vacantFor() >= yieldTime:
		c.log.Warn("leading although this process does not reach the upstream, for nobody else does lead", "error", err)
		c.term.see()
	default:
		c.term.yieldFor(blindPatience)
	}
}

// probe calls the program's.
func (c *Client) probe(ctx context.Context) error {
	if c.opts.probe == nil {
		return errors.New("there is no probe")
	}
	return patience.Run("the probe", func() error { return c.opts.probe(ctx) })
}

// sleep returns false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// sighted makes known whether the leader reaches the upstream.
func (b *statusBoard) sighted(s follower.Sight) {
	b.update(func(b *statusBoard) { b.sight = s })
}
