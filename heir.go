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

// An heir is what makes a follower the successor of its leader.
//
//	         Prepare              Prepared                Succeed
//	(none) ──────────▶ preparing ──────────▶ ready ──────────────▶ leads
//	   ▲                   │ it fails          │ another Prepare,
//	   └───────────────────┴───────────────────┘ or the session ends
type heir struct {
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

// newHeir returns the heir of one session, whose frames say gives it.
func (c *Client) newHeir(ctx context.Context, giveUp context.CancelCauseFunc) *heir {
	return &heir{c: c, ctx: ctx, giveUp: giveUp, said: make(chan *clusterclientv1.ResponseFrame, 1), forget: func() {}}
}

// say takes a frame. A newer one takes the place of one that was not looked at.
func (h *heir) say(f *clusterclientv1.ResponseFrame) {
	for {
		select {
		case h.said <- f:
			return
		default:
		}
		select {
		case <-h.said:
		default:
		}
	}
}

// run does what the leader says until the session ends.
func (h *heir) run() {
	defer h.busy.Wait()
	for {
		select {
		case <-h.ctx.Done():
			return
		case f := <-h.said:
			if s := f.GetSucceed(); s != nil {
				h.busy.Wait()
				h.succeed(s)
			} else {
				h.start(f.GetPrepare())
			}
		}
	}
}

// start prepares for what p says, and for nothing else any more.
func (h *heir) start(p *clusterclientv1.Prepare) {
	h.forget()
	h.busy.Wait()
	h.ready.drop()
	h.ready = nil
	if p.GetId() != 0 {
		ctx, cancel := context.WithCancel(h.ctx)
		h.forget = cancel
		h.busy.Go(func() { h.prepare(ctx, p) })
	}
}

// prepare opens the upstream and watches what the leader watches.
func (h *heir) prepare(ctx context.Context, p *clusterclientv1.Prepare) {
	answer := &clusterclientv1.Prepared{Id: p.GetId()}
	r, place, err := h.getReady(ctx, p)
	switch {
	case err == nil:
		h.ready, answer.Relay = r, place
	case ctx.Err() != nil:
		return
	default:
		h.c.log.Warn("not ready to succeed the leader", "error", err)
		answer.Error = clean(err.Error())
	}
	h.c.driver.Tell(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Prepared{Prepared: answer}})
}

func (h *heir) getReady(ctx context.Context, p *clusterclientv1.Prepare) (r *readiness, place string, err error) {
	if !h.c.opts.candidate() || h.c.opts.strict || h.c.closing.Load() {
		return nil, "", errors.New("cannot lead")
	}
	h.c.log.Debug("getting ready to succeed the leader", "keys", len(p.GetKeys()))
	open, cancel := context.WithCancel(context.Background())
	defer context.AfterFunc(ctx, cancel)()
	up, err := h.c.openOnce(open)
	if err != nil {
		cancel()
		return nil, "", fmt.Errorf("open upstream: %w", err)
	}
	warm, err := leader.NewWarm(up, leader.Limits{Message: h.c.opts.limits.Message}, h.c.log.Named("leader"))
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
	return r, h.c.openPlace(open, r), nil
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
func (h *heir) succeed(s *clusterclientv1.Succeed) {
	m, err := h.takeOver(s)
	if err != nil {
		h.c.log.Warn("not succeeding the leader", "error", err)
		h.answer(&clusterclientv1.Succeeded{Id: s.GetId(), Error: clean(err.Error())})
		return
	}
	h.mandate = m
	h.c.driver.Succeed(h.next(m)) // ends the session
	late := time.AfterFunc(flushTimeout, func() { h.giveUp(errHandedOver) })
	defer late.Stop()
	<-h.ctx.Done()
}

var errHandedOver = errors.New("it has handed over")

func (h *heir) answer(a *clusterclientv1.Succeeded) {
	h.c.driver.Tell(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Succeeded{Succeeded: a}})
}

// next is this client as the leader that a mandate makes of it.
func (h *heir) next(m *mandate) *clusterclientv1.Peer {
	return &clusterclientv1.Peer{Instance: h.c.instance, Pid: h.c.self().GetPid(), Address: m.address()}
}

// takeOver takes everything that a leadership rests on. The right comes first:
// should this process be stopped once it has the listener, then others know
// whose that is.
func (h *heir) takeOver(s *clusterclientv1.Succeed) (*mandate, error) {
	r := h.ready
	if r == nil || r.id != s.GetId() {
		return nil, errNotWanted
	}
	h.ready = nil
	ctx, cancel := context.WithTimeout(h.ctx, settlePatience)
	defer cancel()
	m := &mandate{term: s.GetTerm() + 1, at: s.GetAddress(), owner: s.GetAddress() == h.c.address, ready: r}
	var err error
	if !m.owner && r.take == nil {
		m.lis, err = h.c.listenBeside(ctx)
	}
	if err == nil {
		r.warm.Settle(ctx, s.GetKeys())
		err = h.c.claim(ctx, m, false)
	}
	if err == nil {
		h.answer(&clusterclientv1.Succeeded{Id: s.GetId(), Leader: h.next(m)})
		err = h.c.inherit(ctx, m)
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
