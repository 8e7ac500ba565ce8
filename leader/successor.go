package leader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// preparePatience is how long one follower may take to get ready to lead.
	preparePatience = 5 * time.Second

	// inheritMost is how many bytes of updates that no member of a queue group
	// was given are handed over.
	inheritMost = 32 << 20
)

// A Successor is a follower that is ready to lead: its upstream is open, and
// has reported the keys of this leader.
type Successor struct {
	session *session
	id      uint64
	answers chan *clusterclientv1.RequestFrame // one slot
	relay   string
}

// Relay names where the listening socket can be sent to, empty when nowhere.
func (next *Successor) Relay() string { return next.relay }

// Peer is who it is.
func (next *Successor) Peer() Peer { return next.session.peer }

// Prepare makes a follower ready to lead, and returns it. Nil without an error
// means that none of the followers can be prepared; the error says why those
// that can were not ready in time.
func (l *Leader) Prepare(ctx context.Context) (*Successor, error) {
	if l.up == nil {
		return nil, nil
	}
	var trouble []error
	for _, s := range l.successors() {
		next, err := l.prepare(ctx, s)
		if err == nil {
			return next, nil
		}
		trouble = append(trouble, fmt.Errorf("%v: %w", s, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(trouble...)
}

// successors returns the sessions of those that could be prepared, the best one
// first: the one that is named, and then the youngest process.
func (l *Leader) successors() []*session {
	all := slices.DeleteFunc(l.allSessions(), func(s *session) bool { return !s.succeeds || s.own() })
	own := int(l.cfg.Self.GetPid())
	l.mu.Lock()
	named := string(l.successor)
	l.mu.Unlock()
	isNamed := func(s *session) bool { return string(s.proto.GetInstance()) == named }
	slices.SortFunc(all, func(a, b *session) int {
		return cmp.Or(compareBool(isNamed(b), isNamed(a)), compareBool(a.peer.PID == own, b.peer.PID == own), cmp.Compare(b.peer.Started, a.peer.Started), cmp.Compare(a.peer.Instance, b.peer.Instance))
	})
	return all
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

func (l *Leader) prepare(ctx context.Context, s *session) (*Successor, error) {
	next := &Successor{session: s, id: l.prepared.Add(1), answers: make(chan *clusterclientv1.RequestFrame, 1)}
	ctx, cancel := context.WithTimeoutCause(ctx, preparePatience, fmt.Errorf("not ready after %v", preparePatience))
	defer cancel()
	s.mu.Lock()
	s.successor = next
	s.mu.Unlock()
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Prepare{
		Prepare: &clusterclientv1.Prepare{Id: next.id, Keys: l.wanted()},
	}}, nil)
	answer, err := next.answer(ctx)
	if err == nil && answer.GetPrepared().GetError() != "" {
		err = errors.New(answer.GetPrepared().GetError())
	}
	if err != nil {
		next.Release()
		return nil, err
	}
	next.relay = answer.GetPrepared().GetRelay()
	return next, nil
}

// answer waits for what the follower has to say.
func (next *Successor) answer(ctx context.Context) (*clusterclientv1.RequestFrame, error) {
	select {
	case f := <-next.answers:
		return f, nil
	case <-next.session.ctx.Done():
	case <-ctx.Done():
		cause := context.Cause(ctx)
		if errors.Is(cause, ctx.Err()) { // which says nothing of the follower
			cause = fmt.Errorf("not ready yet: %w", cause)
		}
		return nil, cause
	}
	select { // it may have gone with its last word
	case f := <-next.answers:
		return f, nil
	default:
		return nil, errors.New("it has just left")
	}
}

// Release lets a successor follow as before. It is not needed after Succeed.
func (next *Successor) Release() {
	next.session.mu.Lock()
	next.session.successor = nil
	next.session.mu.Unlock()
	next.session.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Prepare{Prepare: &clusterclientv1.Prepare{}}}, nil)
}

// takeAnswer gives the follower's answer to who waits for it.
func (s *session) takeAnswer(id uint64, f *clusterclientv1.RequestFrame) {
	s.mu.Lock()
	next := s.successor
	s.mu.Unlock()
	if next == nil || next.id != id {
		return
	}
	select {
	case next.answers <- f:
	default:
	}
}

// wanted returns the keys that are subscribed to.
func (l *Leader) wanted() []*clusterclientv1.WantedKey {
	keys := l.subscribed()
	all := make([]*clusterclientv1.WantedKey, 0, len(keys))
	for _, k := range keys {
		k.mu.Lock()
		all = append(all, &clusterclientv1.WantedKey{Key: k.name, Grouped: len(k.groups) > 0})
		k.mu.Unlock()
	}
	return all
}

// subscribed returns the keys that somebody subscribes to, those with most
// subscribers first.
func (l *Leader) subscribed() []*key {
	l.mu.Lock()
	from := l.keys
	if l.closed {
		from = l.last
	}
	subs := make(map[*key]int, len(from))
	for _, k := range from {
		k.mu.Lock()
		if n := len(k.subs); n > 0 {
			subs[k] = n
		}
		k.mu.Unlock()
	}
	l.mu.Unlock()
	all := make([]*key, 0, len(subs))
	for k := range subs {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b *key) int { return cmp.Or(cmp.Compare(subs[b], subs[a]), cmp.Compare(a.name, b.name)) })
	return all
}

// Succeed makes next lead after this leader, which must have been stopped, and
// returns who that is. It then has the right to, and waits for the listening
// socket of address. What members of queue groups in this process hold goes along
// if the process leaves the cluster, too.
func (l *Leader) Succeed(ctx context.Context, next *Successor, address string, leaves bool) (*clusterclientv1.Peer, error) {
	// Behind what the follower has to be told of registrations.
	next.session.addDue(&succeedDue{s: next.session, frame: &clusterclientv1.Succeed{
		Id: next.id, Term: l.Term(), Address: address, Keys: l.inheritance(leaves),
	}})
	answer, err := next.answer(ctx)
	switch {
	case err != nil:
		return nil, err
	case answer.GetSucceeded().GetError() != "":
		return nil, errors.New(answer.GetSucceeded().GetError())
	case answer.GetSucceeded().GetLeader() == nil:
		return nil, errors.New("it gave another answer than expected")
	}
	return answer.GetSucceeded().GetLeader(), nil
}

// Leads returns when the successor has the listening socket, which it says by
// taking its leave, or why it does not lead.
func (next *Successor) Leads(ctx context.Context) error {
	select {
	case <-next.session.ended:
	case <-ctx.Done():
		return context.Cause(ctx)
	case f := <-next.answers:
		return errors.New(f.GetSucceeded().GetError())
	}
	select {
	case f := <-next.answers:
		return errors.New(f.GetSucceeded().GetError())
	default:
	}
	if !next.session.tookLeave.Load() {
		return errors.New("the session with it broke")
	}
	return nil
}

// succeedDue sends a frame once all that was due before it is sent.
type succeedDue struct {
	s       *session
	frame   *clusterclientv1.Succeed
	inQueue bool // guarded by session.mu
}

func (d *succeedDue) queued() *bool { return &d.inQueue }

func (d *succeedDue) appendTo(*wire.Batch) {
	d.s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Succeed{Succeed: d.frame}}, nil)
}

// inheritance is what the next leader has to know of each key.
func (l *Leader) inheritance(leaves bool) []*clusterclientv1.Inheritance {
	var all []*clusterclientv1.Inheritance
	room := inheritMost
	for _, k := range l.subscribed() {
		all = append(all, k.bequeath(&room, leaves))
	}
	return all
}

// bequeath gives the key away: its groups hand nothing out any more.
func (k *key) bequeath(room *int, leaves bool) *clusterclientv1.Inheritance {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bequeathed = true
	in := &clusterclientv1.Inheritance{Key: k.name}
	if has, u := k.upstreamsLocked(); has && k.reported {
		in.Last = markOf(u)
		if k.over == nil && !k.stale {
			in.Since = k.since.UnixNano()
		}
	}
	for _, g := range k.groups {
		if leaves {
			g.takeBackOwnLocked()
		}
		in.Groups = append(in.Groups, g.bequeathLocked(room))
	}
	return in
}

func markOf(u Update) *clusterclientv1.Mark {
	return &clusterclientv1.Mark{Version: []byte(u.Version), Deleted: u.Deleted, Digest: wire.Digest(u.Data)}
}

// takeBackOwnLocked takes back what is with members in the leader's own process.
func (g *group) takeBackOwnLocked() {
	for _, m := range g.members {
		if m.sub.s.own() {
			g.takeBackLocked(m)
		}
	}
}

func (g *group) bequeathLocked(room *int) *clusterclientv1.InheritedGroup {
	in := &clusterclientv1.InheritedGroup{Group: g.name}
	for i, t := range g.queue {
		if *room -= len(t.value.Data); *room < 0 {
			g.key.l.log.Error("queue group is too large to be handed over, dropping its newest updates", "key", g.key.name, "group", g.name, "dropped", len(g.queue)-i)
			break
		}
		in.Tasks = append(in.Tasks, &clusterclientv1.Value{
			Revision: t.rev.ToProto(), Version: []byte(t.value.Version), Deleted: t.value.Deleted, Data: t.value.Data,
		})
	}
	return in
}
