package leader

import (
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Limits bound what one session can make the leader hold.
type Limits struct {
	Subscriptions int // keys
	Calls         int // under way
	Message       int // bytes of a value, argument or result
	Key           int // bytes of a key or name
}

// exceeded returns what answers a request that carries size bytes under a
// name, nil if it may.
func (l *Limits) exceeded(name string, size int) *wire.Reply {
	switch {
	case len(name) > l.Key:
		return tooLarge(fmt.Sprintf("a key or name of %d bytes, at most %d are allowed", len(name), l.Key))
	case size > l.Message:
		return tooLarge(fmt.Sprintf("%d bytes, at most %d are allowed", size, l.Message))
	}
	return nil
}

// within reports whether a request may be looked at, and answers it if not.
func (s *session) within(id uint64, name string, size int) bool {
	r := s.l.cfg.Limits.exceeded(name, size)
	if r == nil {
		return true
	}
	s.l.refused.Add(1)
	r.ID = id
	s.reply(r)
	return false
}

// mayJoin reports whether the follower, which subscribes to so many keys, may
// do so to one more, and says why not.
func (s *session) mayJoin(f *clusterclientv1.Subscribe, keys int) bool {
	names := f.GetKey()
	for _, g := range f.GetGroups() {
		names = longer(names, g.GetName())
	}
	full := keys >= s.l.cfg.Limits.Subscriptions
	r := s.l.cfg.Limits.exceeded(names, 0)
	if r == nil && !full {
		return true
	}
	if r == nil {
		r = s.overLimit("pid %d subscribes to %d keys already, and no more are allowed", s.peer.PID, s.l.cfg.Limits.Subscriptions)
	} else {
		s.l.refused.Add(1)
	}
	s.refused.Store(true)
	reason := r.Message
	r.ID = f.GetId()
	s.reply(r)
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{
		Key:       f.GetKey(),
		Freshness: &clusterclientv1.Freshness{Stale: true, Since: time.Now().UnixNano(), Reason: reason},
	}}}, nil)
	return false
}

func longer(a, b string) string {
	if len(a) < len(b) {
		return b
	}
	return a
}
