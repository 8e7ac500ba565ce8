package clusterclient

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/gate"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// bringLane returns what makes a lane for a session with the leader at address, on
// which there is much; nil when that leader takes none.
func (c *Client) bringLane(address string, stream *wire.Moving, w *clusterclientv1.Welcome) func(context.Context) {
	if !slices.Contains(w.GetFeatures(), wire.FeatureLane) {
		return nil
	}
	return func(ctx context.Context) {
		err := c.openLane(ctx, address, stream, w.GetSession())
		if err != nil && ctx.Err() == nil {
			c.log.Debug("no lane, the session goes on without", "leader", describe(w.GetLeader()), "error", err)
		}
	}
}

func (c *Client) openLane(ctx context.Context, address string, stream *wire.Moving, session []byte) error {
	conn, err := c.dial(ctx, address)
	if err != nil {
		return err
	}
	// Before the leader can say on the stream that it moves.
	if !stream.Await(conn) {
		return errors.Join(errors.New("there is one already"), conn.Close())
	}
	return gate.OpenLane(conn, session)
}

var errNoSession = errors.New("a lane of no session that is here")

// turnOff gives a lane to its session, and the acceptor has nothing to do with
// the connection any more.
func (a *acceptor) turnOff(lane *gate.Lane, p *peerConn) error {
	a.mu.Lock()
	stays := p.place != nil
	p.unplaceLocked()
	p.gone = true
	a.mu.Unlock()
	if !stays { // it was just shown out
		return errLate
	}
	if err := p.conn.SetDeadline(time.Time{}); err != nil { // gRPC's, for what comes before
		return err
	}
	if !a.lane(lane.Session[:], p.who.UID, lane) {
		return errNoSession
	}
	return nil
}

// takeLane gives a lane to its session at this server's leader.
func (s *server) takeLane(session []byte, uid int, conn net.Conn) bool {
	state, _ := s.getState()
	return state.leader != nil && state.leader.Lane(session, uid, conn)
}
