package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// warmPatience is how long the upstream may take to report all keys, once
	// it is open. Those that it has not reported then turn stale when the
	// followers move.
	warmPatience = 3 * time.Second

	// settlePatience bounds what a successor does while nobody leads.
	settlePatience = 2 * time.Second

	// bindRetryLongest is how long a port may be free before its next owner
	// sees that.
	bindRetryLongest = 10 * time.Millisecond
)

// A successor is what makes a follower the successor of its leader.
//
//	         Prepare              Prepared                Succeed
//	(none) ──────────▶ preparing ──────────▶ ready ──────────────▶ leads
//	   ▲                   │ it fails          │ another Prepare,
//	   └───────────────────┴───────────────────┘ or the session ends
type successor struct {
	c      *Client
	ctx    context.Context // of the session
	giveUp context.CancelCauseFunc
	said   chan *clusterclientv1.ResponseFrame // by the leader

	// Used by run, and after that.
	busy    sync.WaitGroup     // prepare, which sets ready
	forget  context.CancelFunc // ends it
	ready   *readiness
	mandate *mandate // to lead
}

// A readiness is an upstream that is open, and what else the next leadership
// needs.
type readiness struct {
	id     uint64
	warm   *leader.Warm
	cancel context.CancelFunc // of the upstream

	// The place that the listener can be sent to; take is nil without one.
	take  func(context.Context) (net.Listener, error)
	close context.CancelFunc
}

var errNotWanted = errors.New("not wanted any more")

// drop closes what a readiness has open.
func (r *readiness) drop() {
	if r == nil {
		return
	}
	r.cancel()
	_ = patience.Close(warmUpstream{r.warm})
}

// warmUpstream closes an upstream when its watches have ended.
type warmUpstream struct{ warm *leader.Warm }

func (u warmUpstream) Close() error {
	u.warm.Close()
	return u.warm.Upstream().Close()
}

// upstream returns the upstream that is open, or what open returns.
func (r *readiness) upstream(open func() (leader.Upstream, error)) (leader.Upstream, error) {
	if r == nil {
		return open()
	}
	return r.warm.Upstream(), nil
}

func (r *readiness) warmth() *leader.Warm {
	if r == nil {
		return nil
	}
	return r.warm
}

// follows makes the context of the upstream end with ctx, or when the function
// that it returns is called.
func (r *readiness) follows(ctx context.Context) (end func()) {
	if r == nil {
		return func() {}
	}
	stop := context.AfterFunc(ctx, r.cancel)
	return func() { stop(); r.cancel() }
}

// newSuccessor returns the successor of one session, whose frames say gives it.
func (c *Client) newSuccessor(ctx context.Context, giveUp context.CancelCauseFunc) *successor {
	return &successor{c: c, ctx: ctx, giveUp: giveUp, said: make(chan *clusterclientv1.ResponseFrame, 1), forget: func() {}}
}

// say takes a frame. A newer one takes the place of one that was not looked at.
func (s *successor) say(f *clusterclientv1.ResponseFrame) {
	for {
		select {
		case s.said <- f:
			return
		default:
		}
		select {
		case <-s.said:
		default:
		}
	}
}

// run does what the leader says until the session ends.
func (s *successor) run() {
	defer s.busy.Wait()
	for {
		select {
		case <-s.ctx.Done():
			return
		case f := <-s.said:
			if succeed := f.GetSucceed(); succeed != nil {
				s.busy.Wait()
				s.succeed(succeed)
			} else {
				s.start(f.GetPrepare())
			}
		}
	}
}

// start prepares for what p says, and for nothing else any more.
func (s *successor) start(p *clusterclientv1.Prepare) {
	s.forget()
	s.busy.Wait()
	s.ready.drop()
	s.ready = nil
	if p.GetId() != 0 {
		ctx, cancel := context.WithCancel(s.ctx)
		s.forget = cancel
		s.busy.Go(func() { s.prepare(ctx, p) })
	}
}

// prepare opens the upstream and watches what the leader watches.
func (s *successor) prepare(ctx context.Context, p *clusterclientv1.Prepare) {
	answer := &clusterclientv1.Prepared{Id: p.GetId()}
	r, place, err := s.getReady(ctx, p)
	switch {
	case err == nil:
		s.ready, answer.Relay = r, place
	case ctx.Err() != nil:
		return
	default:
		s.c.log.Warn("not ready to succeed the leader", "error", err)
		answer.Error = clean(err.Error())
	}
	s.c.driver.Tell(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Prepared{Prepared: answer}})
}

func (s *successor) getReady(ctx context.Context, p *clusterclientv1.Prepare) (r *readiness, place string, err error) {
	if !s.c.opts.candidate() || s.c.opts.strict || s.c.closing.Load() {
		return nil, "", errors.New("cannot lead")
	}
	s.c.log.Debug("getting ready to succeed the leader", "keys", len(p.GetKeys()))
	open, cancel := context.WithCancel(context.Background())
	defer context.AfterFunc(ctx, cancel)()
	up, err := s.c.openOnce(open)
	if err != nil {
		cancel()
		return nil, "", fmt.Errorf("open upstream: %w", err)
	}
	warm, err := leader.NewWarm(up, leader.Limits{Message: s.c.opts.limits.Message}, s.c.log.Named("leader"))
	if err != nil {
		cancel()
		_ = patience.Close(up)
		return nil, "", err
	}
	r = &readiness{id: p.GetId(), warm: warm, cancel: cancel}
	watching, stop := context.WithTimeout(ctx, warmPatience)
	defer stop()
	if err := warm.Watch(watching, p.GetKeys()); err != nil || ctx.Err() != nil {
		r.drop()
		return nil, "", errors.Join(err, context.Cause(ctx))
	}
	return r, s.c.openPlace(open, r), nil
}

// openPlace makes a place that the leader's listener can be sent to, if there
// can be one.
func (c *Client) openPlace(ctx context.Context, r *readiness) (place string) {
	n, ok := c.opts.network.(relay)
	if !ok {
		return ""
	}
	ctx, r.close = context.WithCancel(ctx)
	place, take, err := n.Relay(ctx)
	if err != nil {
		r.close()
		c.log.Debug("the leader's listener cannot be sent here", "error", err)
		return ""
	}
	r.take = take
	return place
}

// succeed leads from now on, if that can be.
func (s *successor) succeed(f *clusterclientv1.Succeed) {
	m, err := s.takeOver(f)
	if err != nil {
		s.c.log.Warn("not succeeding the leader", "error", err)
		s.answer(&clusterclientv1.Succeeded{Id: f.GetId(), Error: clean(err.Error())})
		return
	}
	s.mandate = m
	s.c.driver.Succeed(s.next(m)) // ends the session
	late := time.AfterFunc(flushTimeout, func() { s.giveUp(errHandedOver) })
	defer late.Stop()
	<-s.ctx.Done()
}

var errHandedOver = errors.New("it has handed over")

func (s *successor) answer(a *clusterclientv1.Succeeded) {
	s.c.driver.Tell(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Succeeded{Succeeded: a}})
}

// next is this client as the leader that a mandate makes of it.
func (s *successor) next(m *mandate) *clusterclientv1.Peer {
	return &clusterclientv1.Peer{Instance: s.c.instance, Pid: s.c.self().GetPid(), Address: m.address()}
}

// takeOver takes everything that a leadership rests on. The right comes first:
// should this process be stopped once it has the listener, then others know
// whose that is.
func (s *successor) takeOver(f *clusterclientv1.Succeed) (*mandate, error) {
	r := s.ready
	if r == nil || r.id != f.GetId() {
		return nil, errNotWanted
	}
	s.ready = nil
	ctx, cancel := context.WithTimeout(s.ctx, settlePatience)
	defer cancel()
	m := &mandate{term: f.GetTerm() + 1, at: f.GetAddress(), owner: f.GetAddress() == s.c.address, ready: r}
	var err error
	if !m.owner && r.take == nil {
		m.lis, err = s.c.listenBeside(ctx)
	}
	if err == nil {
		r.warm.Settle(ctx, f.GetKeys())
		err = s.c.claim(ctx, m, false)
	}
	if err == nil {
		s.answer(&clusterclientv1.Succeeded{Id: f.GetId(), Leader: s.next(m)})
		err = s.c.inherit(ctx, m)
	}
	if err != nil {
		m.drop()
		return nil, err
	}
	return m, nil
}

// inherit waits for the listener of the leader before: it is sent, or its
// address becomes free.
func (c *Client) inherit(ctx context.Context, m *mandate) error {
	defer m.ready.closePlace()
	retry := backoff.Backoff{Min: time.Millisecond, Max: bindRetryLongest}
	for m.lis == nil {
		lis, err := m.ready.await(ctx, retry.Next())
		switch {
		case err == nil && lis.Addr().String() == m.at:
			m.lis = lis
		case err == nil:
			_ = lis.Close()
			return fmt.Errorf("a listener at %s was sent, not one at %s", lis.Addr(), m.at)
		case ctx.Err() != nil:
			return fmt.Errorf("the leader's listener did not come: %w", err)
		case m.owner:
			lis, err := c.opts.network.Listen(ctx, c.address)
			if err == nil {
				m.lis = lis
			} else if !errors.Is(err, syscall.EADDRINUSE) {
				return err
			}
		}
	}
	return nil
}

// await waits for the listener for a while.
func (r *readiness) await(ctx context.Context, most time.Duration) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	if r.take == nil {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return r.take(ctx)
}

func (r *readiness) closePlace() {
	if r.take != nil {
		r.close()
	}
}
