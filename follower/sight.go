package follower

import (
	"errors"
	"fmt"
	"time"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Sight is whether the leader reaches its upstream.
type Sight struct {
	Since  time.Time // when it lost it; zero while it reaches it
	Reason string
}

// A sight is what the leader of a link has said of its own.
type sight struct {
	Sight
	lost uint64    // how often the leader has turned blind
	last time.Time // when it did so last
}

// takeSight notes what a heartbeat says.
func (l *link) takeSight(f *clusterclientv1.Blindness) {
	was := l.sight.Load()
	next := *was
	next.Sight = Sight{}
	if f != nil {
		next.Sight = Sight{Since: time.Unix(0, f.GetSince()), Reason: f.GetReason()}
	}
	if next.Sight == was.Sight {
		return
	}
	if f != nil && !next.Since.Equal(was.Since) {
		next.lost, next.last = next.lost+1, next.Since
	}
	l.sight.Store(&next)
	if l.onSight != nil {
		l.onSight(next.Sight)
	}
	l.f.wakeKeys()
}

// doubt makes v stale, unless it is already, if the leader has said nothing of
// it since it turned blind last. told is what sight.lost was when it did.
func (g *sight) doubt(v *Value, told uint64, leader *link) {
	if v.Stale || v.Origin == OriginOverride || told == g.lost {
		return
	}
	v.Reason = errors.New(g.Reason)
	if g.Since.IsZero() {
		v.Reason = fmt.Errorf("not confirmed since the leader, %s, reaches its upstream again", leader)
	}
	v.setStale(g.last)
}
