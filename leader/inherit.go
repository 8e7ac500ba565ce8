package leader

import (
	"time"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// An heirloom is a watch that was warm before the leadership began, and what
// the leader before left of the key.
type heirloom struct {
	run  *warmRun
	in   *clusterclientv1.Inheritance
	next int // in the updates of run, of the first one that the key was not told
}

// inherit begins a new key, which nobody else knows yet, with what its
// warm watch has reported. So whoever joins it holds a value that is vouched
// for at once.
func (k *key) inherit(w *warmKey) {
	h := &heirloom{run: w.run, in: w.in}
	updates, next := h.run.from(w.position)
	if len(updates) == 0 {
		return
	}
	h.next = next
	k.warm = h
	k.report(updates[0])
	k.mu.Lock()
	if last := h.in.GetLast(); last != nil && h.in.GetSince() != 0 && !k.stale && k.over == nil && sameMark(last, k.markLocked()) {
		k.since = time.Unix(0, h.in.GetSince())
	}
	for _, g := range h.in.GetGroups() {
		k.inheritGroupLocked(g, h.in.GetLast())
	}
	k.mu.Unlock()
	for _, u := range updates[1:] {
		k.report(u)
	}
}

// inheritGroupLocked goes on with a queue group that has been given everything
// up to last, but for the tasks in f.
func (k *key) inheritGroupLocked(f *clusterclientv1.InheritedGroup, last *clusterclientv1.Mark) {
	g := &group{key: k, name: f.GetGroup()}
	k.enterLocked(g)
	for _, v := range f.GetTasks() {
		g.pushLocked(taskFrom(g, v))
	}
	g.started = true
	if last != nil && !sameMark(last, k.markLocked()) {
		g.addLocked()
	}
}

// start goes on with the warm watch.
func (h *heirloom) start(sink Sink) (stop func()) {
	h.run.lead(h.next, sink)
	return h.run.halt
}
