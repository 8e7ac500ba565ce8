package leader

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Inspect returns what the leader knows of its term, without the keys.
func (l *Leader) Inspect() inspect.Leadership {
	st := l.Stats()
	report := inspect.Leadership{
		Since:      l.since,
		Upstream:   inspect.Upstream{Open: st.Absent == "", Watches: st.Keys, StaleKeys: st.StaleKeys, Trouble: cmp.Or(st.Absent, st.StaleReason)},
		Candidates: max(0, st.Candidates-1), Subscriptions: st.Subscriptions,
		Registrations: l.regs.inspect(), Running: st.Running,
		Methods: st.Methods, OnewayFailed: st.OnewayFailed, Refused: st.Refused,
		Updates: st.Updates, WatchFailures: st.WatchFailures, Sent: st.Sent, Conflated: st.Conflated,
	}
	if since, reason := l.Sight(); !since.IsZero() {
		report.Upstream.BlindSince, report.Upstream.Trouble = since, reason
	}
	for _, s := range l.allSessions() {
		report.Followers = append(report.Followers, s.inspect())
	}
	slices.SortFunc(report.Followers, func(a, b inspect.Follower) int {
		switch {
		case a.Own:
			return -1
		case b.Own:
			return 1
		}
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Instance, b.Instance))
	})
	return report
}

// Explain returns how the value of a key comes to its subscribers. What these
// hold themselves is for [Leader.Ask] to add.
func (l *Leader) Explain(name string) inspect.Explanation {
	e := inspect.Explanation{
		Key: name, At: time.Now(), Leader: PeerInfo(l.cfg.Self), Term: l.Term(),
		Watch: inspect.Watch{State: inspect.Unwatched}, Value: inspect.Value{State: inspect.Unknown},
		Subscribers: []inspect.Subscriber{},
	}
	l.mu.Lock()
	k := l.keys[name]
	l.mu.Unlock()
	if k == nil {
		return e
	}
	k.explain(&e)
	e.Watch.BlindSince, _ = l.Sight()
	slices.SortFunc(e.Subscribers, func(a, b inspect.Subscriber) int {
		return cmp.Or(cmp.Compare(a.PID, b.PID), cmp.Compare(a.Instance, b.Instance))
	})
	return e
}

// key returns the key called name, nil when there is none.
func (l *Leader) key(name string) *key {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keys[name]
}

func (l *Leader) allKeys() []*key {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*key, 0, len(l.keys))
	for _, k := range l.keys {
		all = append(all, k)
	}
	return all
}

// What a report has of one that says more of itself: a hello may have 64 KiB, and
// there are thousands.
const (
	mostShown      = 256 // bytes of a text
	mostShownBytes = 64  // of what is shown in hex
)

// PeerInfo returns p as it is shown.
func PeerInfo(p *clusterclientv1.Peer) inspect.Peer {
	return inspect.Peer{
		PID: int(p.GetPid()), Instance: Shown(p.GetInstance()), Address: shownText(p.GetAddress()),
		Program: shownText(p.GetProgram()), Build: shownText(p.GetBuild()),
	}
}

// Shown returns what tells one instance or identity from another as it is shown:
// in hex, or, of more than 64 bytes, as the SHA-256 of them.
func Shown(b []byte) string {
	if len(b) > mostShownBytes {
		sum := sha256.Sum256(b)
		b = sum[:]
	}
	return hex.EncodeToString(b)
}

func shownText(text string) string {
	if len(text) > mostShown {
		return strings.ToValidUTF8(text[:mostShown], "") + "…"
	}
	return text
}

// own reports whether this is the session of the leader's own client.
func (s *session) own() bool {
	return string(s.proto.GetInstance()) == string(s.l.cfg.Self.GetInstance())
}

func (s *session) inspect() inspect.Follower {
	f := inspect.Follower{
		Peer: PeerInfo(s.proto), Since: s.peer.Since, Own: s.own(), Candidate: s.candidate,
		Queued: s.w.Queued(), Conflated: s.conflated.Load(), Lane: s.moving != nil && s.moving.HasLane(),
	}
	s.mu.Lock()
	subs := make([]*sub, 0, len(s.subs))
	for _, sb := range s.subs {
		subs = append(subs, sb)
	}
	f.Calls = len(s.calls)
	s.mu.Unlock()
	f.Keys = len(subs)
	for _, sb := range subs {
		if sb.behind() > 0 {
			f.Behind++
		}
	}
	return f
}

func (sb *sub) behind() uint64 {
	sb.key.mu.Lock()
	defer sb.key.mu.Unlock()
	return sb.behindLocked()
}

// behindLocked returns how many values were not sent yet, one that is on its
// way in pieces included.
func (sb *sub) behindLocked() uint64 {
	n := sb.key.valueSerial - sb.sentValue
	if sb.inFlight {
		n++
	}
	return n
}

func (k *key) inspect() inspect.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := inspect.Key{Key: k.name, Watch: k.watchLocked(), Value: k.infoLocked(), Subscribers: make([]int, 0, len(k.subs))}
	for _, sb := range k.subs {
		i.Subscribers = append(i.Subscribers, sb.s.peer.PID)
	}
	slices.Sort(i.Subscribers)
	for name := range k.groups {
		i.Groups = append(i.Groups, name)
	}
	slices.Sort(i.Groups)
	return i
}

func (k *key) explain(e *inspect.Explanation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.Watch, e.Value = k.watchLocked(), k.infoLocked()
	for _, sb := range k.subs {
		e.Subscribers = append(e.Subscribers, inspect.Subscriber{
			Peer: PeerInfo(sb.s.proto), Own: sb.s.own(), Behind: sb.behindLocked(),
		})
	}
	for _, g := range k.groups {
		i := inspect.Group{Group: g.name, Members: len(g.members), Queued: len(g.queue), Dropped: g.dropped}
		for _, m := range g.members {
			i.Held += len(m.holds)
		}
		e.Groups = append(e.Groups, i)
	}
	slices.SortFunc(e.Groups, func(a, b inspect.Group) int { return cmp.Compare(a.Group, b.Group) })
}

func (k *key) watchLocked() inspect.Watch {
	w := inspect.Watch{State: inspect.Watching, Failures: k.failures}
	switch {
	case k.stale && k.heard:
		w.State, w.Trouble = inspect.Retrying, k.reason
	case len(k.subs) == 0:
		w.State = inspect.Lingering
	}
	return w
}

func (k *key) infoLocked() inspect.Value {
	v := inspect.Value{State: inspect.Fresh, Since: k.since, Reason: k.reason}
	switch {
	case !k.has:
		v.State = inspect.Unknown
		return v
	case k.stale:
		v.State = inspect.Stale
	}
	v.Changed, v.Revision = k.changed, revisionInfo(k.rev)
	v.Version, v.Deleted, v.Bytes = k.update.Version, k.update.Deleted, len(k.update.Data)
	return v
}

func revisionInfo(r wire.Revision) inspect.Revision {
	return inspect.Revision{Term: r.Term, Seq: r.Seq}
}

func (rs *registrations) inspect() []inspect.Registration {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var all []inspect.Registration
	for _, r := range rs.byID {
		if r.stored {
			all = append(all, inspect.Registration{Key: r.reg.Key, Owner: PeerInfo(r.peer)})
		}
	}
	slices.SortFunc(all, func(a, b inspect.Registration) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Owner.PID, b.Owner.PID))
	})
	return all
}
