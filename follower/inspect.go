package follower

import (
	"encoding/json"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/inspect"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Holding returns what the Follower holds, of key in particular if that is not
// empty.
func (d *Driver) Holding(key string) inspect.Holding { return d.f.holding(key) }

// Conn returns the connection to the leader, which carries more than the
// session, or why there is none.
func (d *Driver) Conn() (grpc.ClientConnInterface, error) {
	if l := d.f.state.Load().link; l != nil {
		return l.conn, nil
	}
	return nil, d.f.noLeader()
}

func (f *Follower) holding(name string) inspect.Holding {
	st := (&Driver{f}).Stats()
	h := inspect.Holding{
		Keys: st.Keys, StaleKeys: st.StaleKeys, OldestStale: st.OldestStale,
		Subscriptions: st.Subscriptions, Registrations: st.Registrations, Calls: st.Running,
	}
	f.withKey(name, func(k *key) {
		k.mu.Lock()
		defer k.mu.Unlock()
		h.Key = k.infoLocked()
		for s := k.first; s != nil; s = s.next {
			h.OfKey = append(h.OfKey, s.infoLocked())
		}
	})
	return h
}

// infoLocked returns the newest value as it is to be seen now.
func (k *key) infoLocked() *inspect.Value {
	if !k.has {
		return &inspect.Value{State: inspect.Unknown, Reason: k.troubleLocked().Error()}
	}
	var v Value
	k.showLocked(&v)
	i := &inspect.Value{
		State: inspect.Fresh, Since: v.Since, Version: v.Version, Deleted: v.Deleted, Bytes: len(v.Data),
		Revision: inspect.Revision{Term: v.Revision.Term, Seq: v.Revision.Seq},
	}
	if v.Stale {
		i.State, i.Reason = inspect.Stale, v.Reason.Error()
	}
	return i
}

func (s *Subscription) infoLocked() inspect.Subscription {
	k := s.key
	i := inspect.Subscription{Group: s.opts.group}
	if s.opts.hasGroup {
		if g := k.groupLocked(s.opts.group); g != nil {
			i.Queued = len(g.queue)
			i.Behind = i.Queued > 0
		}
		return i
	}
	if s.yielded {
		i.Yielded = inspect.Revision{Term: s.revision.Term, Seq: s.revision.Seq}
	}
	i.Behind = s.seen != k.serial
	return i
}

// report answers a leader's inquiry.
func (l *link) report(q *clusterclientv1.Inquiry) {
	text, err := json.Marshal(l.f.holding(q.GetKey()))
	if err != nil {
		return // of nothing that is in a Holding
	}
	l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Finding{
		Finding: &clusterclientv1.Finding{Id: q.GetId(), Report: text},
	}}, nil)
}
