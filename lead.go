package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// openRetryFirst and Longest bound the pause before an upstream that could not
	// be opened after a takeover is tried again.
	openRetryFirst   = 500 * time.Millisecond
	openRetryLongest = 30 * time.Second

	// drainTimeout bounds how long a leader that leaves waits for calls.
	drainTimeout = 5 * time.Second

	// openPatience is how long an open function may go on after its context
	// has ended.
	openPatience = time.Second
)

// lead serves the cluster for one term: until ctx ends, Resign is called, or
// somebody leads in a higher term.
func (c *Client) lead(ctx context.Context, m mandate) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c.spare.drop(false)
	c.status.update(func(b *statusBoard) { b.turns.begun++ })
	srv := c.newServer(m, func(why *supersededError) { end(why) })
	defer srv.stop()
	defer m.leaseHold.release()
	defer m.ready.follows(ctx)()
	c.serveAt(srv, m)
	defer c.status.update(func(b *statusBoard) { b.serving = "" })
	reports := newReporter(c, srv, m)
	defer reports.wait()
	defer reports.close()
	srv.archive = c.openArchive()
	defer srv.archive.close()

	var renewing sync.WaitGroup
	defer renewing.Wait()
	renew, stop := context.WithCancel(context.Background()) // goes on while the leadership is being handed over
	defer stop()
	renewing.Go(func() { m.leaseHold.run(renew, srv.term) })

	up, err := m.ready.upstream(func() (leader.Upstream, error) { return c.openOrStandIn(ctx, end, srv, reports) })
	if err != nil {
		return err
	}
	cfg := c.leaderConfig(srv)
	cfg.Warm = m.ready.warmth()
	cfg.Records = c.driver.Records()
	ldr, err := leader.New(cfg, up)
	if err != nil {
		_ = patience.Close(up)
		return c.openFailed(srv, err)
	}
	defer srv.archive.serve(ldr)()
	m.leaseHold.handOver()
	return c.leadOpen(ctx, end, srv, reports, ldr)
}

// serveAt makes srv serve what the mandate rests on.
func (c *Client) serveAt(srv *server, m mandate) {
	if m.lis == nil {
		return
	}
	if m.owner {
		srv.dir.own()
	}
	c.status.update(func(b *statusBoard) { b.serving = m.lis.Addr().String() })
	if trouble := c.socketTrouble(); trouble != "" {
		c.log.Warn("no Unix socket beside the port", "error", trouble)
	}
	srv.listen(m.lis)
}

// leadOpen is the part of lead with an open upstream.
func (c *Client) leadOpen(ctx context.Context, end context.CancelCauseFunc, srv *server, reports *reporter, ldr *leader.Leader) error {
	term := ldr.Term()
	c.term.saw(term, c.instance)
	srv.setState(func(s *serving) { s.leader = ldr })
	leading := newLeadership(ldr, srv, end)
	defer c.status.hold(RoleLeader, term, c.self(), leading)()
	c.log.Info("leading", "term", term, "address", c.status.servedAt())

	var own sync.WaitGroup
	own.Go(func() { c.serveSelf(srv, ldr, reports) })
	reports.start()
	defer c.watchSight(leading)()

	<-ctx.Done()
	reason, drain := context.Cause(ctx), drainTimeout
	if errors.Is(reason, errResigned) || errors.Is(reason, errDeposed) {
		c.term.yield()
		defer c.term.yield() // from when the port is free, which calls may have put off
	}
	if errors.Is(reason, errDeposed) {
		drain = 0
	}
	if _, ok := errors.AsType[*supersededError](reason); ok {
		drain = 0      // whatever still runs here is too late
		srv.freePort() // and the port is for the one who leads
	}
	c.status.ending(reason)
	c.logTurn("leaving", "term", ldr.Term(), "reason", reason)
	c.stepDown(srv, ldr, reason.Error(), drain, leading.succession.successor(reason))
	reports.close()
	own.Wait()
	return nil
}

// leaderConfig is that of a leader on srv, with or without an upstream.
func (c *Client) leaderConfig(srv *server) leader.Config {
	return leader.Config{
		Self: c.self(), Term: srv.term(), Linger: c.opts.linger, Codec: c.opts.codec, Logger: c.log.Named("leader"),
		Seed: c.seed(srv.archive), Save: srv.archive.save(), Reread: c.opts.reread, Rate: c.opts.watchRate, Alive: c.alive(),
		Joined: c.opts.joined, Left: c.opts.left, Lanes: c.policy.TLS == nil,
		Limits: leader.Limits{
			Subscriptions: c.opts.limits.Subscriptions, Calls: c.opts.limits.Calls,
			Registrations: c.opts.limits.Registrations, Groups: c.opts.limits.Groups,
			Message: c.opts.limits.Message, Key: c.opts.limits.Key,
		},
		Beat: srv.leaseHold.ring, MayAct: srv.leaseHold.mayAct,
	}
}

// alive returns the function that tells whether a process of this host lives,
// nil where nobody can tell.
func (c *Client) alive() func(leader.Peer) bool {
	if _, ok := c.opts.network.(loopback); !ok {
		return nil
	}
	return func(p leader.Peer) bool {
		now := peercred.Simulate(p.UID, p.PID).Process(p.PID)
		return p.Started != 0 && now.Started == p.Started
	}
}

// stepDown undoes a leadership so that nobody notices: calls under way are
// answered, and then next leads before the followers look for it. Without one
// that is ready, the upstream is closed before the next leader opens its own,
// and the port is free before the followers look for it.
func (c *Client) stepDown(srv *server, ldr *leader.Leader, reason string, drain time.Duration, next *leader.Successor) {
	srv.setState(func(s *serving) { s.leaving = true })
	draining, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	ldr.Leave(draining, reason)
	if next != nil {
		if who := c.handOver(srv, ldr, next); who != nil {
			flush(ldr, who)
		}
	}
	if err := ldr.Close(); err != nil {
		c.log.Error("leadership not ended cleanly", "error", err)
		c.closeErr = err
	}
	srv.archive.close() // before the next leader reads it
	srv.leaseHold.release()
	srv.freePort()
	flush(ldr, nil)
	srv.stop()
	ldr.Wait()
}

// flush lets the followers go to the next leader, if it is known who that is.
func flush(ldr *leader.Leader, next *clusterclientv1.Peer) {
	flushing, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	ldr.Flush(flushing, next)
}

// serveSelf is the session between this process's own Follower and its Leader.
func (c *Client) serveSelf(srv *server, ldr *leader.Leader, reports *reporter) {
	conn, err := srv.localConn()
	if err != nil {
		c.log.Error("no connection within the process", "error", err)
		return
	}
	release := func() { _ = conn.Close() }
	here, there := wire.Pipe(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		_ = ldr.Serve(there, c.hello().GetHello(), leader.Origin{UID: os.Geteuid()})
		there.Close()
	})
	var welcome clusterclientv1.SessionResponse
	if err := here.RecvMsg(&welcome); err == nil {
		link := follower.Link{
			Stream:  wire.Unread(here, welcome.GetFrames()[1:]),
			Welcome: welcome.GetFrames()[0].GetWelcome(), Conn: conn, Release: release, Close: here.Close, CloseSend: here.CloseSend,
			Term:  func(term uint64) { c.raised(term, c.instance); srv.leaseHold.ring(); reports.wake() },
			Sight: c.status.sighted,
		}
		link.Direct = func(reply func(*wire.Reply)) func(*wire.Call) bool {
			return ldr.Direct(link.Welcome.GetSession(), reply)
		}
		c.raised(link.Welcome.GetTerm(), c.instance)
		c.isReady()
		_ = c.driver.Run(context.Background(), link)
	} else {
		release()
	}
	here.Close()
	served.Wait()
}

// open calls the user's open function: once while Create waits, whose error
// its failure is, and else until it succeeds. If there is a standIn it is told
// of each failure, and Create does not fail.
func (c *Client) open(ctx context.Context, srv *server, standIn func(error)) (leader.Upstream, error) {
	if standIn != nil { // whoever stands in can ask others
		return c.keepOpening(ctx, srv, standIn)
	}
	ctx, leave := context.WithCancelCause(ctx) // which ends with the leadership: an upstream may last as long
	stop := c.watchUnopened(ctx, srv, leave)
	up, err := c.keepOpening(ctx, srv, func(err error) { c.status.wait(fmt.Errorf("the upstream does not open: %w", err)) })
	stop()
	why, unopened := errors.AsType[*unopenedError](context.Cause(ctx))
	if !unopened {
		return up, err
	}
	if up != nil { // too late
		_ = patience.Close(up)
	}
	c.log.Warn("giving way, the upstream has not opened and another process may reach it", "after", why.after, "error", why.cause)
	c.term.turnBlind()
	c.term.yield()
	return nil, why
}

func (c *Client) keepOpening(ctx context.Context, srv *server, failed func(error)) (leader.Upstream, error) {
	retry := backoff.Backoff{Min: openRetryFirst, Max: openRetryLongest}
	c.status.wait(errors.New("the upstream is being opened by this process"))
	for {
		up, err := c.openOnce(ctx)
		if err == nil {
			return up, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if srv.archive.empty() && !c.isHeld() {
			return nil, c.openFailed(srv, err)
		}
		if times, due := c.repeats.Due("open"); due {
			c.log.Warn("upstream not opened, trying again", "error", err, "times", times)
		}
		failed(err)
		srv.setState(func(s *serving) { s.waiting = "the leader's upstream does not open: " + err.Error() })
		if err := retry.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// openFailed gives everybody who waits for this leader its error.
func (c *Client) openFailed(srv *server, err error) error {
	srv.freePort()
	err = fmt.Errorf("open upstream: %w", err)
	srv.setState(func(s *serving) { s.failed = err })
	return c.final(errs.Upstream, err)
}

// openOnce calls the open function and waits for it to return, though not for
// ever once ctx has ended. A late upstream is closed.
func (c *Client) openOnce(ctx context.Context) (leader.Upstream, error) {
	type result struct {
		up  leader.Upstream
		err error
	}
	got := make(chan result, 1)
	go func() {
		r := result{err: errors.New("the open function called runtime.Goexit")}
		defer func() { got <- r }()
		r.up, r.err = c.callOpen(ctx)
	}()
	select {
	case r := <-got:
		return r.up, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(openPatience)
	defer late.Stop()
	select {
	case r := <-got:
		if r.err == nil {
			_ = patience.Close(r.up)
		}
	case <-late.C:
		c.log.Error("the upstream's open function does not return although its context has ended")
		go func() {
			if r := <-got; r.err == nil {
				_ = patience.Close(r.up)
			}
		}()
	}
	return nil, context.Cause(ctx)
}

func (c *Client) callOpen(ctx context.Context) (up leader.Upstream, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("the upstream's open function panicked", "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panicked: %v", p)
		}
	}()
	up, err = c.opts.open(ctx)
	if err == nil && up == nil {
		err = errors.New("the open function returned neither an upstream nor an error")
	}
	return up, err
}
