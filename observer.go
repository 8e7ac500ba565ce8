package clusterclient

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/internal/lease"
)

const (
	// observeEvery is how often a follower looks whether its leader is alive.
	observeEvery = 500 * time.Millisecond

	// suspectAfter is how long a leader is silent, at least, before a follower
	// looks what the lease says.
	suspectAfter = 2 * time.Second
)

// An observer watches over the leader that a follower has. Death ends the
// session; an observer is for the leader that neither dies nor speaks.
//
//	    beat                no beat for WithDeposeAfter, and the
//	  ┌──────┐              lease was not renewed as long; or no beat for
//	  │      │              some time, and the lease says deposed
//	  ▼      │            ┌──────────────────────────────────▶ claim the lease:
//	watching ─────────────┤                                    lead, or follow who does
//	                      └──────────────────────────────────▶ give the session up
//	                        the lease names a later leader
//
// What counts as silence is only time in which the observer itself was seen to
// run: a process that was stopped, or starved, hears of all that it missed
// before it draws a conclusion.
type observer struct {
	c       *Client
	leader  string // its instance
	giveUp  context.CancelCauseFunc
	mandate *mandate // set when this client takes over; read after run

	beat   time.Time
	silent time.Duration
}

// run observes until ctx ends. The first time it makes ready for what may
// come.
func (o *observer) run(ctx context.Context) {
	tick := time.NewTicker(spareAfter)
	defer tick.Stop()
	last := time.Now()
	for first := true; ; first = false {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if first {
			tick.Reset(observeEvery)
			o.c.makeSpare()
		}
		now := time.Now()
		o.count(now.Sub(last))
		last = now
		if o.silent >= min(suspectAfter, o.c.opts.staleAfter) {
			o.judge(ctx)
		}
	}
}

// count adds the time since the last look to the leader's silence, unless the
// leader spoke since, and no more of it than should have passed.
func (o *observer) count(passed time.Duration) {
	beat := o.c.driver.LastBeat()
	if !beat.Equal(o.beat) {
		o.beat, o.silent = beat, 0
		return
	}
	o.silent += min(passed, 2*observeEvery)
}

// judge looks at the lease of a leader that is silent.
func (o *observer) judge(ctx context.Context) {
	r, err := o.c.lease.Read()
	if err != nil {
		return
	}
	host := o.c.lease.Host()
	switch {
	case r.Instance != o.leader && r.Term > o.c.status.leaderTerm() && !r.Expired(host, 0) && host.Look(r.Process) != lease.Gone:
		o.giveUp(fmt.Errorf("it is silent, and %s leads in term %d", o.c.describeHolder(r), r.Term))
	case r.DeposedBy != 0 && r.Term > o.c.status.leaderTerm():
		o.replace(ctx, &hangsError{deposedBy: r.DeposedBy})
	case r.Instance == o.leader && o.silent >= o.c.opts.deposeAfter && r.Expired(host, o.c.opts.deposeAfter):
		o.replace(ctx, &hangsError{silent: o.silent})
	}
}

// replace takes the place of the leader, if this client can.
func (o *observer) replace(ctx context.Context, why *hangsError) {
	if !o.c.opts.candidate() || o.c.term.yielding() {
		return
	}
	m, err := o.c.besides(ctx, true)
	switch {
	case err != nil:
		o.c.log.Debug("not taking over", "error", err)
	case m != nil:
		o.mandate, why.term = m, m.term
		o.giveUp(why)
	}
}

// watchWhileAsking ends s, to which Hello was said, when the lease tells that
// whoever is to answer hangs, or that the name is led elsewhere. It does so
// until the function that it returns is called. Most answers come before it
// would have looked, and cost a timer.
func (c *Client) watchWhileAsking(s *session) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	begin := time.AfterFunc(renewEvery, func() {
		defer close(done)
		c.watchUntilAnswered(ctx, s)
	})
	return func() {
		cancel()
		if !begin.Stop() {
			<-done
		}
	}
}

// watchUntilAnswered looks at the lease at once, and then again and again
// until ctx ends.
func (c *Client) watchUntilAnswered(ctx context.Context, s *session) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	var suspected lease.Record
	for ctx.Err() == nil {
		r, err := c.lease.Read()
		host := c.lease.Host()
		switch {
		case err != nil || r.Vacant(host):
		case !r.Expired(host, c.opts.deposeAfter):
			if r.Address != s.address && r.Address != c.address {
				s.cancel()
			}
		case r == suspected:
			s.cancel()
		default:
			suspected = r // once more: this process may have been slow itself
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
