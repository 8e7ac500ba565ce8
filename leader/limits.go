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
	Registrations int
	Groups        int // of a key, of all sessions together
	Message       int // bytes of a value, argument or result
	Key           int // bytes of a key or name
}

// exceeded returns what answers a request that carries size bytes under a
// name, nil if it may.
func (l *Limits) exceeded(name string, size int) *wire.Reply {
	switch {
	case len(name) > l.Key:
		return tooLarge(fmt.Sprintf("a key or name of %d bytes, at most %d are allowed by Limits.Key of the leader", len(name), l.Key))
	case size > l.Message:
		return tooLarge(fmt.Sprintf("%d bytes, at most %d are allowed by Limits.Message of the leader", size, l.Message))
	}
	return nil
}

// groupsFit reports whether the groups do, and their names, that are to be joined
// of a key which the follower has, and answers if not.
func (s *session) groupsFit(f *clusterclientv1.Subscribe, k *key) bool {
	if !s.within(f.GetId(), longestName(f), 0) {
		return false
	}
	r := s.tooManyGroups(f, k)
	if r != nil {
		r.ID = f.GetId()
		s.reply(r)
	}
	return r == nil
}

// tooManyGroups returns what answers a request for more groups than a key may
// have, nil if it is none. The key is k unless that is nil.
func (s *session) tooManyGroups(f *clusterclientv1.Subscribe, k *key) *wire.Reply {
	most := s.l.cfg.Limits.Groups
	if len(f.GetGroups()) == 0 || k.groupsWith(f.GetGroups()) <= most {
		return nil
	}
	return s.overLimit("%q would have more than %d queue groups, which are as many as Limits.Groups of the leader allows; "+
		"use fewer names, or raise it by WithLimits in all processes", f.GetKey(), most)
}

// groupsWith returns how many groups k, which may be nil, would have with those
// that are wanted.
func (k *key) groupsWith(want []*clusterclientv1.GroupMember) int {
	names := make(map[string]struct{}, len(want))
	for _, m := range want {
		names[m.GetName()] = struct{}{}
	}
	if k == nil {
		return len(names)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	all := len(k.groups)
	for name := range names {
		if k.groups[name] == nil {
			all++
		}
	}
	return all
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
// do so to one more, which is k unless that is nil, and says why not.
func (s *session) mayJoin(f *clusterclientv1.Subscribe, k *key, keys int) bool {
	r, refusal := s.l.cfg.Limits.exceeded(longestName(f), 0), clusterclientv1.Refusal_REFUSAL_TOO_LARGE
	switch {
	case r != nil:
		s.l.refused.Add(1)
	case keys >= s.l.cfg.Limits.Subscriptions:
		refusal = clusterclientv1.Refusal_REFUSAL_LIMIT
		r = s.overLimit("pid %d subscribes to %d keys already, and no more are allowed by Limits.Subscriptions of the leader; "+
			"close some, or raise it by WithLimits in all processes", s.peer.PID, keys)
	default:
		refusal, r = clusterclientv1.Refusal_REFUSAL_LIMIT, s.tooManyGroups(f, k)
	}
	if r == nil {
		return true
	}
	s.refused.Store(true)
	reason := r.Message
	r.ID = f.GetId()
	s.reply(r)
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{
		Key:       f.GetKey(),
		Freshness: &clusterclientv1.Freshness{Stale: true, Since: time.Now().UnixNano(), Reason: reason},
		Refusal:   refusal,
	}}}, nil)
	return false
}

// longestName returns the longest of the key and its queue groups.
func longestName(f *clusterclientv1.Subscribe) string {
	name := f.GetKey()
	for _, g := range f.GetGroups() {
		if len(g.GetName()) > len(name) {
			name = g.GetName()
		}
	}
	return name
}
