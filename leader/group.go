package leader

import (
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// groupQueue is how many updates a queue group holds for its members. The
	// oldest is dropped when one more comes.
	groupQueue = 4096

	// groupBytes is how large those may be together. One that is larger is held
	// alone.
	groupBytes = wire.MaxMessage

	// groupWindow is how many unacknowledged updates one member holds: enough
	// to keep it busy, few enough to spread the work.
	groupWindow = 8
)

// A group hands each update of one key to one of its members. All fields are
// guarded by the key's mutex. It lives as long as the key does, so that
// updates are kept while its members change.
type group struct {
	key     *key
	name    string
	started bool                  // the first update to hand out is known
	unknown bool                  // whether the present value is an update, since no member knew of one before it
	done    *clusterclientv1.Mark // newest update known to be finished
	members []*member             // the next one in turn is the first
	queue   []*task
	bytes   int // of the values in queue
	dropped uint64
}

// A member is one follower in a group.
type member struct {
	sub      *sub
	number   uint64  // tells it from an earlier membership of the same follower
	holds    []*task // handed over, not acknowledged, oldest first
	owes     uint32  // of what the leader before has handed to it; nothing is handed to it before that is here
	progress progressDue
}

// A task is one update on its way to one member.
type task struct {
	group *group
	rev   wire.Revision
	value Update
}

// setGroups makes sb a member of exactly the groups listed. The request id is
// answered once the groups' starting point is known: what the upstream
// reports after that reaches a member.
func (k *key) setGroups(sb *sub, want []*clusterclientv1.GroupMember, id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if sb.left {
		return
	}
	for _, g := range k.groups {
		if !slices.ContainsFunc(want, func(m *clusterclientv1.GroupMember) bool { return m.GetName() == g.name }) {
			g.leaveLocked(sb)
		}
	}
	for _, m := range want {
		g := k.groups[m.GetName()]
		if g == nil {
			g = &group{key: k, name: m.GetName()}
			k.enterLocked(g)
		}
		g.joinLocked(sb, m)
	}
	if id == 0 {
		return
	}
	answer := func() { sb.s.reply(&wire.Reply{ID: id}) }
	switch most := k.l.cfg.Limits.Calls; {
	case k.heard || len(want) == 0:
		answer()
	case len(k.waiting) >= most:
		r := sb.s.overLimit("%d wait for the upstream's first word on %q, and no more may by Limits.Calls of the leader", most, k.name)
		r.ID = id
		sb.s.reply(r)
	default:
		k.waiting = append(k.waiting, answer)
	}
}

func (g *group) joinLocked(sb *sub, f *clusterclientv1.GroupMember) {
	if done := f.GetDone(); done != nil && (g.done == nil || markRevision(done).Compare(markRevision(g.done)) > 0) {
		g.done = done
		g.started = g.started && !g.unknown
	}
	m := g.memberLocked(sb)
	if m == nil || m.number != f.GetMember() {
		g.leaveLocked(sb) // the membership before, if there was one
		m = &member{sub: sb, number: f.GetMember()}
		m.progress = progressDue{group: g, member: m}
		g.members = append(g.members, m)
	}
	m.owes += f.GetReturns()
	if g.key.reported {
		g.startLocked()
	}
	g.dispatchLocked()
}

// memberLocked returns the membership of sb; nil if it has none.
func (g *group) memberLocked(sb *sub) *member {
	i := slices.IndexFunc(g.members, func(m *member) bool { return m.sub == sb })
	if i < 0 {
		return nil
	}
	return g.members[i]
}

// startLocked settles where the group begins: after the update it is known to
// have finished, or else after the present value, which is no update unless a
// member comes, before there is another, that has finished an earlier one.
func (g *group) startLocked() {
	if g.started {
		return
	}
	g.started, g.unknown = true, g.done == nil
	if g.done != nil && !sameMark(g.done, g.key.markLocked()) {
		g.addLocked()
	}
}

// reportedLocked takes the upstream's word that the key's value is the newest.
func (g *group) reportedLocked(news bool) {
	switch {
	case !g.started:
		g.startLocked()
	case news:
		g.addLocked()
	}
	g.dispatchLocked()
}

// addLocked queues the key's present value.
func (g *group) addLocked() {
	g.unknown = false
	t := &task{group: g, rev: g.key.rev, value: g.key.update}
	for len(g.queue) > 0 && (len(g.queue) >= groupQueue || g.bytes+len(t.value.Data) > groupBytes) {
		g.popLocked()
		if g.dropped++; g.dropped == 1 {
			g.key.l.log.Error("queue group is full, dropping its oldest updates", "key", g.key.name, "group", g.name, "updates", len(g.queue)+1, "bytes", g.bytes)
		}
	}
	g.pushLocked(t)
}

func (g *group) pushLocked(t *task) {
	g.queue = append(g.queue, t)
	g.bytes += len(t.value.Data)
}

// popLocked takes the oldest update out of the queue.
func (g *group) popLocked() *task {
	t := g.queue[0]
	g.queue[0] = nil
	g.queue = g.queue[1:]
	g.bytes -= len(t.value.Data)
	return t
}

// isMember reports whether sb is in one of the key's groups.
func (k *key) isMember(sb *sub) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.groups {
		if g.memberLocked(sb) != nil {
			return true
		}
	}
	return false
}

// dispatchLocked hands out updates in turn, to members that have room.
func (g *group) dispatchLocked() {
	for len(g.queue) > 0 && !g.key.bequeathed {
		i := slices.IndexFunc(g.members, func(m *member) bool { return m.owes == 0 && len(m.holds) < groupWindow })
		if i < 0 {
			return
		}
		m := g.members[i]
		g.members = append(slices.Delete(g.members, i, i+1), m)
		t := g.popLocked()
		m.holds = append(m.holds, t)
		m.sub.s.sendTask(t, m.number)
	}
}

// leaveLocked takes back what sb has not acknowledged.
func (g *group) leaveLocked(sb *sub) {
	m := g.memberLocked(sb)
	if m == nil {
		return
	}
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	for _, t := range m.holds {
		sb.s.forgetTask(t)
	}
	g.takeBackLocked(m)
	g.dispatchLocked()
}

// acknowledge notes that a member has dealt with t.
func (g *group) acknowledge(s *session, t *task) {
	mark := t.mark() // which may take a while
	g.key.mu.Lock()
	defer g.key.mu.Unlock()
	for _, m := range g.members {
		if i := slices.Index(m.holds, t); i >= 0 && m.sub.s == s {
			m.holds = slices.Delete(m.holds, i, i+1)
		}
	}
	if g.done == nil || t.rev.Compare(markRevision(g.done)) > 0 {
		g.done = mark
		for _, m := range g.members {
			m.sub.s.addDue(&m.progress)
		}
	}
	g.dispatchLocked()
}

func (t *task) mark() *clusterclientv1.Mark {
	return &clusterclientv1.Mark{
		Revision: t.rev.ToProto(), Version: []byte(t.value.Version),
		Deleted: t.value.Deleted, Digest: wire.Digest(t.value.Data),
	}
}

func markRevision(m *clusterclientv1.Mark) wire.Revision { return wire.RevisionFrom(m.GetRevision()) }

// progressDue tells one member how far its group has come.
type progressDue struct {
	group   *group
	member  *member
	inQueue bool // guarded by session.mu
}

func (p *progressDue) queued() *bool { return &p.inQueue }

func (p *progressDue) appendTo(b *wire.Batch) {
	k := p.group.key
	k.mu.Lock()
	done := p.group.done
	k.mu.Unlock()
	b.Add(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Progress{Progress: &clusterclientv1.Progress{
		Key: k.name, Group: p.group.name, Done: done,
	}}})
}

// sendTask hands t to the session's follower, in the membership given.
func (s *session) sendTask(t *task, member uint64) {
	s.mu.Lock()
	s.nextTask++
	id := s.nextTask
	s.tasks[id] = t
	s.mu.Unlock()
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Task{Task: &clusterclientv1.Task{
		Id: id, Group: t.group.name, Member: member,
		Value: &clusterclientv1.Value{
			Key: t.group.key.name, Revision: t.rev.ToProto(), Version: []byte(t.value.Version),
			Deleted: t.value.Deleted, Data: t.value.Data,
			Freshness: &clusterclientv1.Freshness{Since: time.Now().UnixNano()},
		},
	}}}, nil)
}

// forgetTask makes a later acknowledgement of t have no effect.
func (s *session) forgetTask(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, have := range s.tasks {
		if have == t {
			delete(s.tasks, id)
			return
		}
	}
}

func (s *session) acknowledge(ids []uint64) {
	for _, id := range ids {
		s.mu.Lock()
		t := s.tasks[id]
		delete(s.tasks, id)
		s.mu.Unlock()
		if t != nil {
			t.group.acknowledge(s, t)
		}
	}
}

func (k *key) enterLocked(g *group) {
	if k.groups == nil {
		k.groups = make(map[string]*group)
	}
	k.groups[g.name] = g
}
