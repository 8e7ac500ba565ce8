package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/backoff"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// Pauses between attempts to reach a leader.
	claimRetryFirst   = 5 * time.Millisecond
	claimRetryLongest = time.Second
)

// runRoles takes one role after the other until ctx ends.
//
//	          port bound, or appointed by its owner,
//	          or its leader hangs; and the lease claimed
//	        ┌───────────────────────────────────────▶ lead ──┐
//	claim ──┤                                          ▲     ├──▶ claim …
//	        └───────────────────────────────────────▶ follow ┘
//	          welcomed by a leader                 its leader hangs
//
// lead and follow block for their term and undo themselves; each returns when
// the term is over.
func (c *Client) runRoles(ctx context.Context) {
	defer c.endRoles()
	if host, ok := c.opts.network.(loopback); ok {
		defer host.prepare()()
	}
	var sweeping sync.WaitGroup
	sweeping.Go(c.lease.Sweep)
	defer sweeping.Wait()
	retry := backoff.Backoff{Min: claimRetryFirst, Max: claimRetryLongest}
	var suspect stranger
	for ctx.Err() == nil {
		var err error
		if c.opts.single {
			err = c.lead(ctx, mandate{term: c.term.next()})
		} else {
			err = c.takeRole(ctx, &retry, &suspect)
		}
		if ctx.Err() != nil || err == nil {
			continue
		}
		c.status.wait(err)
		if c.fail(err) {
			return
		}
		_ = retry.Wait(ctx)
	}
}

// endRoles makes the end of the last role known.
func (c *Client) endRoles() {
	c.driver.Close()
	c.driver.Wait()
	c.spare.drop(true)
	c.status.update(func(b *statusBoard) {
		b.over, b.waiting = true, &Error{Code: errs.Closed, Op: "hold a role", Name: c.name}
	})
	close(c.done)
}

// fail ends Create with err if that cannot heal; false means to try again,
// always once Create has returned.
func (c *Client) fail(err error) bool {
	select {
	case <-c.ready:
		return false
	default:
	}
	if final, ok := errors.AsType[*finalError](err); ok {
		err = final.err
	} else if rejected, ok := errors.AsType[*rejectedError](err); ok && rejected.final() {
		err = &Error{Code: rejected.err.Code, Op: "create", Name: c.name, Cause: rejected.err.Cause}
	} else {
		return false
	}
	c.failed <- err
	return true
}

// isHeld reports whether a role has been held, so that Create has returned.
func (c *Client) isHeld() bool {
	select {
	case <-c.ready:
		return true
	default:
		return false
	}
}

// finalError is an error that ends Create.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// final returns an error that ends Create.
func (c *Client) final(code errs.Code, cause error) error {
	return &finalError{&Error{Code: code, Op: "create", Name: c.name, Cause: cause}}
}

// isReady makes Create return. It is called by the first role, once held.
func (c *Client) isReady() {
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// takeRole makes one attempt to lead or to follow, and returns when the term,
// if that came of it, is over.
func (c *Client) takeRole(ctx context.Context, retry *backoff.Backoff, suspect *stranger) error {
	led, replaced := c.led()
	if address, ok := c.elsewhere(led); ok {
		if a, err := c.ask(ctx, address); err == nil && a.welcome != nil {
			return c.accept(ctx, a, retry, suspect)
		} else if rejected, ok := errors.AsType[*rejectedError](err); ok && rejected.final() {
			return err
		}
	}
	c.lookAgain(ctx)
	if !replaced { // else the port is taken
		lis, err := c.bind(ctx, led)
		if err != nil {
			return err
		}
		if lis != nil {
			return c.leadAt(ctx, &mandate{term: c.term.next(), lis: lis, owner: true}, retry, suspect)
		}
	}
	c.spread(ctx)
	c.approach(suspect)
	a, err := c.ask(ctx, c.address)
	if err == nil {
		return c.accept(ctx, a, retry, suspect)
	}
	switch m, claimErr := c.replaceHung(ctx); {
	case claimErr != nil:
		return claimErr
	case m != nil:
		retry.Reset()
		return c.lead(ctx, *m)
	}
	return c.judge(err, suspect)
}

// accept takes the role that an answer to Hello gives.
func (c *Client) accept(ctx context.Context, a answer, retry *backoff.Backoff, suspect *stranger) error {
	if a.welcome == nil {
		lis, err := c.listenBeside(ctx)
		if err != nil {
			a.s.close()
			return err
		}
		return c.leadAt(ctx, &mandate{term: a.term, lis: lis, by: a.s}, retry, suspect)
	}
	*suspect = stranger{}
	if c.opts.policy == LeaderOnly {
		a.s.close()
		return c.final(errs.LeadershipTaken, errors.New(describe(a.welcome.GetLeader())))
	}
	if known, leader, _ := c.term.known(); a.welcome.GetTerm() < known && string(leader) != string(a.welcome.GetLeader().GetInstance()) {
		a.s.close()
		return c.notLed(fmt.Errorf("%s leads in term %d, which term %d has ended", describe(a.welcome.GetLeader()), a.welcome.GetTerm(), known))
	}
	retry.Reset()
	m := c.follow(ctx, a.s, a.welcome)
	if m == nil {
		return nil
	}
	return c.lead(ctx, *m)
}

// leadAt leads at the address that m has, if the lease is to be had.
func (c *Client) leadAt(ctx context.Context, m *mandate, retry *backoff.Backoff, suspect *stranger) error {
	*suspect = stranger{}
	if err := c.claim(ctx, m, false); err != nil {
		m.drop()
		return err
	}
	retry.Reset()
	return c.lead(ctx, *m)
}

func (c *Client) nobody(err error) error {
	if c.opts.candidate() {
		return fmt.Errorf("%s: %w", c.address, err)
	}
	return fmt.Errorf("waiting for a process that can lead (one with WithUpstream) to listen on %s", c.address)
}

// An answer is what came of Hello: a welcome, or else a term to lead in.
type answer struct {
	s       *session
	welcome *clusterclientv1.Welcome
	term    uint64
}

// errTurnOver ends a wait at the port's owner, who was told that others go first.
var errTurnOver = errors.New("nobody else has taken the leadership in time; this process asks for it")

// ask says hello at address, and where that is redirected to, and waits for
// an answer. While others go first it waits only until they have had their time:
// who was asked does not know when that is over.
func (c *Client) ask(ctx context.Context, address string) (answer, error) {
	hello := c.hello()
	yields := hello.GetHello().GetCandidate() && hello.GetHello().GetYields()
	s, err := c.dialSession(ctx, address, hello)
	if err != nil {
		return answer{}, err
	}
	defer c.watchWhileAsking(s)()
	if yields {
		defer time.AfterFunc(c.term.yieldsFor(), s.cancel).Stop()
	}
	for first := true; ; first = false {
		f, err := s.answer(first)
		if err != nil {
			s.close()
			if yields && !c.term.yielding() && errors.Is(err, errHelloLost) {
				err = &Error{Code: errs.NoLeader, Op: "join", Name: c.name, Cause: errTurnOver}
			}
			return answer{}, err
		}
		switch k := f.GetKind().(type) {
		case *clusterclientv1.ResponseFrame_Pending:
			c.status.wait(&Error{Code: errs.NoLeader, Op: "join", Name: c.name, Cause: fmt.Errorf("%s: %s", describe(k.Pending.GetOwner()), k.Pending.GetReason())})
		case *clusterclientv1.ResponseFrame_Welcome:
			return answer{s: s, welcome: k.Welcome}, nil
		case *clusterclientv1.ResponseFrame_Lead:
			return answer{s: s, term: k.Lead.GetTerm()}, nil
		case *clusterclientv1.ResponseFrame_Reject:
			s.close()
			return answer{}, c.rejection(k.Reject)
		case *clusterclientv1.ResponseFrame_Redirect:
			s.close()
			to := k.Redirect.GetLeader()
			if address != c.address { // a leader does not redirect
				return answer{}, errNotOurs
			}
			a, err := c.ask(ctx, to.GetAddress())
			if err != nil && !errors.As(err, new(*rejectedError)) && !errors.Is(err, errs.ErrPeerRefused) && !errors.Is(err, errs.ErrLimit) {
				// Whatever is wrong there says nothing of who holds the port.
				err = &Error{Code: errs.NoLeader, Op: "join", Name: c.name, Cause: errors.New(describe(to) + " leads the name: " + err.Error())}
			}
			return a, err
		}
	}
}

func (c *Client) hello() *clusterclientv1.RequestFrame {
	term, leader, lost := c.term.known()
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Hello{Hello: &clusterclientv1.Hello{
		Protocol: wire.Protocol, Name: c.name, Identity: c.opts.identity, Peer: c.self(),
		Candidate: c.opts.candidate(), Yields: c.term.yielding(),
		KnownTerm: term, KnownLeader: leader, LeaderLost: lost,
		Features: c.features(),
	}}}
}

// features are the optional abilities of this client.
func (c *Client) features() []string {
	all := []string{wire.FeatureInquiry, wire.FeatureWitness, wire.FeatureCredit}
	if c.opts.probe != nil {
		all = append(all, wire.FeatureProbe)
	}
	if c.opts.candidate() && !c.opts.strict {
		all = append(all, wire.FeatureHandOver)
	}
	return all
}
