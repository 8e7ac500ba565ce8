package clusterclient

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"

	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// follow is served by the leader that said welcome on s, until that session
// ends. It returns a mandate when the leader hangs and this client is to take
// its place.
func (c *Client) follow(ctx context.Context, s *session, w *clusterclientv1.Welcome) *mandate {
	who := &clusterclientv1.Peer{Instance: w.GetLeader().GetInstance(), Pid: w.GetLeader().GetPid(), Address: s.address}
	c.term.saw(w.GetTerm(), who.GetInstance())
	defer c.term.lose()
	defer c.status.hold(RoleFollower, w.GetTerm(), who, nil)()
	c.log.Info("following", "term", w.GetTerm(), "leader", describe(who))
	c.isReady()

	following, end := context.WithCancelCause(ctx)
	defer end(nil)
	o := &observer{c: c, leader: hex.EncodeToString(who.GetInstance()), giveUp: end}
	var observing sync.WaitGroup
	observing.Go(func() { o.run(following) })
	s.detach() // the driver ends it in its own way
	h := c.newSuccessor(following, end)
	observing.Go(h.run)
	moving := wire.NewMoving(wire.Unread(s.stream, s.pending))
	err := c.driver.Run(following, follower.Link{
		Stream: moving, Welcome: w, Conn: s.conn, Release: s.close, Close: s.cancel,
		CloseSend: func() error { return errors.Join(moving.CloseSend(), s.stream.CloseSend()) },
		Busy:      c.bringLane(s.address, moving, w),
		Term:      func(term uint64) { c.raised(term, who.GetInstance()) },
		Sight:     c.status.sighted, Named: c.leaveTo,
		HandOver: h.say,
	})
	if st, ok := status.FromError(err); ok && err != nil { // of gRPC's own
		err = errors.New("the connection has ended: " + st.Message())
	}
	c.status.ending(err)
	if following.Err() != nil {
		c.spare.forget()
	}
	end(nil)
	observing.Wait()
	h.ready.drop()
	c.logTurn("leader gone", "term", w.GetTerm(), "leader", describe(who), "reason", err)
	return chooseMandate(ctx, h.mandate, o.mandate)
}

// chooseMandate returns the first mandate that there is, if ctx has not ended,
// and gives back all others.
func chooseMandate(ctx context.Context, all ...*mandate) (chosen *mandate) {
	for _, m := range all {
		switch {
		case m == nil:
		case chosen == nil && ctx.Err() == nil:
			chosen = m
		default:
			m.drop()
		}
	}
	return chosen
}

// raised notes that the leadership goes on in a higher term.
func (c *Client) raised(term uint64, who []byte) {
	c.term.saw(term, who)
	if st, _, _, _ := c.status.read(); st.Term != term {
		c.status.update(func(b *statusBoard) {
			b.term = term
			b.history.raised(term)
		})
	}
}
