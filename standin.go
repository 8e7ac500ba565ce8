package clusterclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// standInAfter is how long the upstream may take to open before the archive
// stands in for it. Opening one usually takes less, and then nobody has to be
// told twice.
const standInAfter = 100 * time.Millisecond

// An opened is what came of opening the upstream.
type opened struct {
	up  leader.Upstream
	err error
}

// A standIn leads without an upstream, with the values of the archive, while
// the upstream is being opened. It has no methods, publishes nothing and takes
// no registrations: its followers know that it is about to go, and keep their
// calls for the leader that comes.
type standIn struct {
	c       *Client
	srv     *server
	reports *reporter

	mu  sync.Mutex // guards what follows
	ldr *leader.Leader
	why string // the upstream did not open; empty when that is not known
}

// openOrStandIn opens the upstream. If the archive has something and the
// upstream does not open at once, this process leads meanwhile.
func (c *Client) openOrStandIn(ctx context.Context, end context.CancelCauseFunc, srv *server, reports *reporter) (leader.Upstream, error) {
	if srv.archive.empty() {
		return c.open(ctx, srv, nil)
	}
	s := &standIn{c: c, srv: srv, reports: reports}
	got, failed := make(chan opened, 1), make(chan struct{}, 1)
	go func() { // ends when ctx does, at the latest
		up, err := c.open(ctx, srv, func(err error) {
			s.absent(err)
			select {
			case failed <- struct{}{}:
			default:
			}
		})
		got <- opened{up, err}
	}()
	soon := time.NewTimer(standInAfter)
	defer soon.Stop()
	select {
	case r := <-got:
		return r.up, r.err
	case <-failed:
	case <-soon.C:
	}
	r := s.lead(end, got)
	if errors.Is(context.Cause(ctx), errResigned) {
		c.term.yield()
	}
	return r.up, r.err
}

// absent notes why the upstream did not open.
func (s *standIn) absent(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = "the upstream does not open: " + err.Error()
	if s.ldr != nil {
		s.ldr.Absent(s.why)
	}
}

// lead serves the followers until the upstream is open, or can never be.
func (s *standIn) lead(end context.CancelCauseFunc, got <-chan opened) opened {
	c, srv := s.c, s.srv
	ldr, err := leader.New(c.leaderConfig(srv), nil)
	if err != nil {
		return <-got // as without an archive
	}
	s.mu.Lock()
	if s.ldr = ldr; s.why != "" {
		ldr.Absent(s.why)
	}
	s.mu.Unlock()
	defer srv.archive.serve(ldr)()
	c.term.saw(ldr.Term(), c.instance)
	srv.setState(func(st *serving) { st.leader = ldr })
	leading := newLeadership(ldr, srv, end)
	defer c.status.hold(RoleLeader, ldr.Term(), c.self(), leading)()
	c.log.Warn("leading without the upstream, with the values of the snapshot", "term", ldr.Term(), "values", srv.archive.store.Len())

	var own sync.WaitGroup
	own.Go(func() { c.serveSelf(srv, ldr, s.reports) })
	s.reports.start()
	defer c.watchSight(leading)()
	r := <-got
	srv.setState(func(st *serving) { st.leader, st.term, st.waiting = nil, ldr.Term(), "the upstream has just opened" })
	s.end(ldr)
	own.Wait()
	return r
}

// end makes way for the leader with an upstream.
func (s *standIn) end(ldr *leader.Leader) {
	s.mu.Lock()
	s.ldr = nil
	s.mu.Unlock()
	ldr.Leave(context.Background(), "the upstream is open")
	if err := ldr.Close(); err != nil {
		s.c.log.Error("standing in for the upstream not ended cleanly", "error", err)
	}
	flushing, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	ldr.Flush(flushing, nil)
}
