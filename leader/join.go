package leader

import (
	"time"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// join makes sb wait for the values of f's key, which is k unless that is nil,
// and starts the watch if there is none. It returns false when the leadership is
// over.
func (l *Leader) join(sb *sub, f *clusterclientv1.Subscribe, k *key) bool {
	if k != nil && f.GetKnown() != nil {
		k.digestFor(f.GetKnown())
	}
	for k == nil || !k.enter(sb, f.GetKnown()) {
		seed := l.seed(f) // which may read a file
		l.mu.Lock()
		k = l.wantKeyLocked(f.GetKey(), seed)
		l.mu.Unlock()
		if k == nil {
			return false
		}
	}
	return true
}

// enter adds sb, whose follower knows a value; false when the key is gone.
func (k *key) enter(sb *sub, known *clusterclientv1.Mark) bool {
	k.mu.Lock()
	if k.gone {
		k.mu.Unlock()
		return false
	}
	sb.key, sb.at = k, len(k.subs)
	sb.toldLocked(k.hash.Bare())
	k.subs = append(k.subs, sb)
	k.weighLocked()
	k.endLingerLocked()
	if k.holdsLocked(known) {
		sb.sentValue = k.valueSerial
	} else {
		sb.unsure = known != nil
	}
	news := k.stateSerial > 0
	k.mu.Unlock()
	if news {
		sb.s.addDue(sb)
	}
	return true
}

// resume takes a follower's word on what it holds: it may have dropped, and
// want again, a key that it never unsubscribed from. It is told the state in
// any case.
func (k *key) resume(sb *sub, known *clusterclientv1.Mark) {
	k.digestFor(known)
	k.mu.Lock()
	sb.sentState = 0
	if known == nil {
		sb.toldLocked(k.hash.Bare())
	}
	if !k.holdsLocked(known) {
		sb.sentValue = 0
	}
	k.mu.Unlock()
	sb.s.addDue(sb)
}

// leaveHeld leaves what sb's memberships hold with its follower.
func (k *key) leaveHeld(sb *sub) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, g := range k.groups {
		g.leaveHeldLocked(sb)
	}
}

// leave ends sb's interest. The last one to leave starts the linger.
func (k *key) leave(sb *sub) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sb.toldLocked(0)
	sb.left = true
	last := k.subs[len(k.subs)-1]
	k.subs[sb.at], last.at = last, sb.at
	k.subs[len(k.subs)-1] = nil
	k.subs = k.subs[:len(k.subs)-1]
	k.weighLocked()
	for _, g := range k.groups {
		g.leaveLocked(sb)
	}
	if len(k.subs) == 0 && k.l.ctx.Err() == nil {
		k.lingerLocked()
	}
}

// lingerLocked lets the key stay for a while. As many do as one session may
// subscribe to: somebody who asks for ever new ones is to leave no more than
// that behind.
func (k *key) lingerLocked() {
	linger := k.l.cfg.Linger
	if k.l.lingering.Add(1) > int64(k.l.cfg.Limits.Subscriptions) {
		linger = 0
	}
	k.linger = time.AfterFunc(linger, k.lingerOver)
}

func (k *key) endLingerLocked() {
	if k.linger != nil {
		k.linger.Stop()
		k.linger = nil
		k.l.lingering.Add(-1)
	}
}

// lingerOver ends the key unless somebody joined meanwhile.
func (k *key) lingerOver() { k.l.source.stop(k.name, k.l.remove(k)) }

// remove takes out a key that nobody uses, whose watch ends once stop was
// called. Until it has ended, the next watch of that key waits.
func (l *Leader) remove(k *key) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	unused := len(k.subs) == 0
	if !unused || l.keys[k.name] != k {
		return nil
	}
	delete(l.keys, k.name)
	k.endLingerLocked()
	l.updates += k.updates
	l.failures += k.failures
	stop, running := k.goneLocked()
	if running {
		l.ending[k.name] = k
	}
	return stop
}

// watchEnded lets the next watch of a key that is gone begin.
func (l *Leader) watchEnded(k *key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending[k.name] != k {
		return
	}
	delete(l.ending, k.name)
	if next := l.keys[k.name]; next != nil {
		next.mu.Lock()
		next.queueLocked()
		next.mu.Unlock()
	}
}
