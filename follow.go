package clusterclient

import (
	"context"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// follow is served by the leader that said welcome on s, until that session
// ends.
func (c *Client) follow(ctx context.Context, s *session, w *clusterclientv1.Welcome) error {
	who := &clusterclientv1.Peer{Instance: w.GetLeader().GetInstance(), Pid: w.GetLeader().GetPid(), Address: s.address}
	c.term.saw(w.GetTerm(), who.GetInstance())
	defer c.term.lose()
	defer c.status.hold(RoleFollower, w.GetTerm(), who, nil)()
	c.log.Info("following", "term", w.GetTerm(), "leader", describe(who))
	c.isReady()
	err := c.driver.Run(ctx, follower.Link{
		Stream: wire.Unread(s.stream, s.pending), Welcome: w, Conn: s.conn, Close: s.cancel, CloseSend: s.stream.CloseSend,
		Term: func(term uint64) { c.raised(term, who.GetInstance()) },
	})
	c.status.ending(err)
	if ctx.Err() == nil {
		c.log.Info("leader gone", "term", w.GetTerm(), "leader", describe(who), "reason", err)
	}
	return nil
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
