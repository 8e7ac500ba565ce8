package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// preparePatience is how long a leader looks for a successor.
	preparePatience = 10 * time.Second

	// succeedPatience is how long one may take to lead when everybody waits.
	succeedPatience = settlePatience + time.Second
)

// A succession is the choice of who leads next, at most one for a leadership.
type succession struct {
	turn chan struct{}     // one slot: who holds it may look at, and change, next
	next *leader.Successor // that is ready; nil when none was asked for, or none could be
}

func newLeadership(ldr *leader.Leader, srv *server, end func(error)) *leadership {
	return &leadership{
		Leader: ldr, owns: srv.dir.isOwner, end: end,
		succession: &succession{turn: make(chan struct{}, 1)}, written: srv.archive.written, turns: srv.c.status.taken(),
	}
}

// prepare makes another process ready to lead after this one, while this one
// goes on. It fails when some could be asked, and none is ready.
func (c *Client) prepare(ctx context.Context, leading *leadership) error {
	if c.opts.strict {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, preparePatience, fmt.Errorf("not ready after %v", preparePatience))
	defer cancel()
	s := leading.succession
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-s.turn }()
	if s.next != nil {
		return nil
	}
	next, err := leading.Prepare(ctx)
	s.next = next
	return err
}

// resign makes another process lead, as soon as it is ready for it. It fails
// when those that could lead are not; the leadership goes on then.
func (c *Client) resign(ctx context.Context, leading *leadership) error {
	if err := c.prepare(ctx, leading); err != nil {
		if ctx.Err() != nil {
			e := errs.FromContext(ctx, "resign", "", err)
			e.Name = c.name
			return e
		}
		return &Error{Code: errs.NoCandidate, Op: "resign", Name: c.name, Cause: err}
	}
	leading.end(errResigned)
	return nil
}

// turns counts the leaderships that a client has begun, also those whose upstream
// is not open yet, and the leaders that it has followed.
type turns struct{ begun, followed int }

func (b *statusBoard) taken() turns {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.turns
}

// replaced returns when another process leads in place of this one, which has
// given leading up. It fails when none of so many candidates has taken that, so
// that this process leads again.
func (c *Client) replaced(ctx context.Context, leading *leadership, candidates int) error {
	was := leading.turns
	for st := range c.StatusChanges(ctx) {
		now := c.status.taken()
		switch {
		case now.followed > was.followed:
			return nil
		case c.opts.policy == LeaderOnly && !c.closed() && (st.Role == RoleNone || now.begun > was.begun):
			return nil
		case now.begun > was.begun:
			return &Error{Code: errs.NoCandidate, Op: "resign", Name: c.name, Cause: fmt.Errorf(
				"none of the others that could (%d) has led within %v, their logs say why; this process leads again", candidates, yieldTime)}
		}
	}
	if c.closed() {
		return &Error{Code: errs.Closed, Op: "resign", Name: c.name}
	}
	return c.ended(ctx, "resign", "", c.status.waitsFor())
}

// successor returns who is to lead after a leadership that has ended for
// reason; nil when nobody is ready, or reason leaves no time.
func (s *succession) successor(reason error) *leader.Successor {
	if !errors.Is(reason, errResigned) && !errors.Is(reason, errs.ErrClosed) {
		return nil
	}
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.next
}

// handOver makes next lead, and returns who that is, nil when it does not. The
// leader must take no calls any more.
func (c *Client) handOver(srv *server, ldr *leader.Leader, next *leader.Successor) *clusterclientv1.Peer {
	if err := ldr.Stop(); err != nil {
		c.log.Error("leadership not ended cleanly", "error", err)
		c.closeErr = err
	}
	srv.archive.close() // before the next leader reads it
	srv.leaseHold.release()
	ctx, cancel := context.WithTimeout(context.Background(), succeedPatience)
	defer cancel()
	lis, address := srv.bequeath()
	who, err := ldr.Succeed(ctx, next, address, c.closing.Load())
	if err == nil {
		srv.sendListener(ctx, next.Relay(), lis)
		err = next.Leads(ctx)
	}
	if err != nil {
		c.log.Warn("not handed over, the others take over by themselves", "to", next.Peer().PID, "error", err)
		return nil
	}
	c.log.Debug("handed over", "to", describe(who))
	return who
}

// bequeath returns the listener that the next leader gets, the one at the
// cluster's port if there is one, and its address; nil in a server that does
// not listen. The server takes no other listener from then on.
func (s *server) bequeath() (main net.Listener, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if at := l.Addr().String(); main == nil || at == s.c.address {
			main, address = l, at
		}
	}
	s.freed = true // whoever would listen now comes too late
	return main, address
}

// sendListener sends lis, if that is possible, to place, and closes all
// listeners. Connections stay.
func (s *server) sendListener(ctx context.Context, place string, lis net.Listener) {
	defer s.freePort()
	if n, ok := s.c.opts.network.(relay); ok && place != "" && lis != nil {
		if err := n.Send(ctx, place, lis); err != nil {
			s.c.log.Warn("listener not sent, the port is free for a moment", "error", err)
		}
	}
}
