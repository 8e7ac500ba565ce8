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

// takeReturned takes back what the leader before has handed to a member.
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
	g.putBackLocked(taskFrom(g, f.GetValue()))
	if m := g.memberLocked(sb); m != nil && m.owes > 0 {
		m.owes--
	}
	g.dispatchLocked()
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
