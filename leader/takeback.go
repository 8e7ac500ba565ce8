package leader

import (
	"slices"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// takeBackLocked queues what a member holds, in front of what is newer.
func (g *group) takeBackLocked(m *member) {
	for _, t := range m.holds {
		g.putBackLocked(t)
	}
	m.holds = nil
}

// leaveHeldLocked leaves what a member holds with it: it finishes that, or gives
// it back to the next leader.
func (g *group) leaveHeldLocked(sb *sub) {
	if m := g.memberLocked(sb); m != nil {
		m.holds = nil
	}
}

// takeReturned takes back what the leader before has handed to a member, or this
// one has in a session that was lost, if it has not taken it back by itself.
func (s *session) takeReturned(f *clusterclientv1.Returned) {
	k := s.l.key(f.GetValue().GetKey())
	s.mu.Lock()
	sb := s.subs[k]
	s.mu.Unlock()
	if sb == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.groups[f.GetGroup()]
	if g == nil {
		return
	}
	if t := taskFrom(g, f.GetValue()); !g.hasLocked(t) {
		g.putBackLocked(t)
	}
	if m := g.memberLocked(sb); m != nil && m.owes > 0 {
		m.owes--
	}
	g.dispatchLocked()
}

// hasLocked reports whether the group has the update of t already, for a member
// to come or with one.
func (g *group) hasLocked(t *task) bool {
	same := func(other *task) bool { return t.rev == other.rev }
	return slices.ContainsFunc(g.queue, same) ||
		slices.ContainsFunc(g.members, func(m *member) bool { return slices.ContainsFunc(m.holds, same) })
}

// putBackLocked queues t where it was before it was handed out.
func (g *group) putBackLocked(t *task) {
	i := slices.IndexFunc(g.queue, func(other *task) bool { return t.rev.Compare(other.rev) < 0 })
	if i < 0 {
		i = len(g.queue)
	}
	g.queue = slices.Insert(g.queue, i, t)
	g.bytes += len(t.value.Data)
}

// taskFrom returns the task that another leader had to hand out.
func taskFrom(g *group, v *clusterclientv1.Value) *task {
	return &task{group: g, rev: wire.RevisionFrom(v.GetRevision()), value: Update{
		Data: v.GetData(), Version: string(v.GetVersion()), Deleted: v.GetDeleted(),
	}}
}
