package follower

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A group is this process's membership in a queue group of one key. The
// subscriptions of the process share it. All fields are guarded by the key's
// mutex.
type group struct {
	name  string
	id    uint64 // of the membership; a group that is left and joined again has another
	subs  int
	queue []*task
	done  *clusterclientv1.Mark // newest update that somebody was given
}

// leaveGroups ends all memberships: what this process was given and has not
// begun with is for others. It returns when the leader knows, above all when
// that is in this process and about to hand over what it takes for unfinished.
func (f *Follower) leaveGroups() {
	members := make(map[*key][]*Subscription)
	f.mu.Lock()
	for _, k := range f.keys {
		k.mu.Lock()
		for s := k.first; s != nil; s = s.next {
			if s.opts.hasGroup {
				members[k] = append(members[k], s)
			}
		}
		k.mu.Unlock()
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience)
	defer cancel()
	var leaving sync.WaitGroup
	for k, subs := range members {
		leaving.Go(func() { k.leaveGroups(ctx, subs) })
	}
	leaving.Wait()
}

// leavePatience bounds how long a leader is waited for that does not answer.
const leavePatience = time.Second

// leaveGroups closes members, and keeps the key until the leader has answered
// what goes the same way behind that.
func (k *key) leaveGroups(ctx context.Context, members []*Subscription) {
	stays := newSubscription(&k.f.plain, nil)
	kept := k.f.add(stays, k.name)
	for _, s := range members {
		_ = s.Close() // never fails
	}
	if !kept {
		return
	}
	defer func() { _ = stays.Close() }()
	if l := k.f.state.Load().link; l != nil {
		deadline, _ := ctx.Deadline()
		a, _, _ := l.attempt(ctx, deadline, stays.joining())
		if a != nil {
			k.f.release(a)
		}
	}
}

// A task is one update that this process was chosen for.
type task struct {
	link  *link // that it came over, and is acknowledged on
	id    uint64
	value Value
}

// takeTask queues t for the group's subscriptions. A task for a membership
// that was left is dropped: the leader hands it to somebody else once it
// learns of that.
func (k *key) takeTask(name string, membership uint64, t *task) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.groupLocked(name)
	if g == nil || g.id != membership {
		return
	}
	g.queue = append(g.queue, t)
	g.advance(t.value.mark())
	k.wakeLocked()
}

func (k *key) takeProgress(p *clusterclientv1.Progress) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if g := k.groupLocked(p.GetGroup()); g != nil {
		g.advance(p.GetDone())
	}
}

// advance notes that the group has come as far as mark.
func (g *group) advance(mark *clusterclientv1.Mark) {
	if mark != nil && wire.RevisionFrom(mark.GetRevision()).Compare(wire.RevisionFrom(g.done.GetRevision())) > 0 {
		g.done = mark
	}
}

// nextTaskLocked returns the next update for a subscription of the group.
func (k *key) nextTaskLocked(name string) *task {
	g := k.groupLocked(name)
	if g == nil || len(g.queue) == 0 {
		return nil
	}
	t := g.queue[0]
	g.queue = slices.Delete(g.queue, 0, 1)
	return t
}

// giveBack takes what the leader before has handed to this process and nobody has
// begun with, and returns what gives it to the leader of l: that has somebody else
// to hand it to if this process dies or leaves the group.
func (g *group) giveBack(l *link, key string) (frames []*clusterclientv1.RequestFrame) {
	if !l.takesBack {
		return nil
	}
	var own []*task
	for _, t := range g.queue {
		if t.link == l {
			own = append(own, t)
			continue
		}
		frames = append(frames, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Returned{Returned: &clusterclientv1.Returned{
			Group: g.name,
			Value: &clusterclientv1.Value{
				Key: key, Revision: t.value.Revision.ToProto(), Version: []byte(t.value.Version),
				Deleted: t.value.Deleted, Data: t.value.Data,
			},
		}}})
	}
	g.queue = own
	return frames
}

// acknowledge tells the leader that t was dealt with. A leader that is gone
// need not know: its successor hands out only what is newer.
func (t *task) acknowledge() {
	if t.link.ctx.Err() == nil {
		t.link.ack(t.id)
	}
}

// enterGroupLocked adds a subscription to a group of the key.
func (k *key) enterGroupLocked(name string) {
	r := k.rareLocked()
	g := r.groups[name]
	if g == nil {
		g = &group{name: name, id: k.f.ids.Add(1)}
		if r.groups == nil {
			r.groups = make(map[string]*group)
		}
		r.groups[name] = g
	}
	g.subs++
}

// leaveGroupLocked takes it away again, and reports whether it was the last.
func (k *key) leaveGroupLocked(name string) (last bool) {
	g := k.groupLocked(name)
	if g == nil {
		return false
	}
	if g.subs--; g.subs == 0 {
		delete(k.rare.groups, name)
	}
	return g.subs == 0
}
