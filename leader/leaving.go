package leader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/patience"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// errLeaving ends everything a leader runs.
var errLeaving = errors.New("the leader is leaving")

// Leave announces the end of the leadership and returns when the calls under
// way are answered, or ctx ends. From then on new calls are refused as not
// started, so that their callers turn to the next leader.
func (l *Leader) Leave(ctx context.Context, reason string) {
	l.mu.Lock()
	if !l.leaving {
		l.leaving = true
		l.checkDrainedLocked()
	}
	l.mu.Unlock()
	frame := l.leavingFrame(reason, false)
	for _, s := range l.allSessions() {
		s.dueLeaving(frame)
	}
	select {
	case <-l.drained:
	case <-ctx.Done():
	}
}

// begin counts a call, or nil for those that run where they are received, as
// running, until finish; false means that it must not be started.
func (l *Leader) begin(c *call) bool {
	if l.mayAct() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beginLocked(c)
}

func (l *Leader) beginLocked(c *call) bool {
	if l.leaving || l.up == nil {
		return false
	}
	l.running++
	if c != nil && c.loose() {
		l.loose[c] = struct{}{}
	}
	l.work.Add(1)
	return true
}

func (l *Leader) finish(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	delete(l.loose, c)
	l.work.Done()
	l.checkDrainedLocked()
}

func (l *Leader) checkDrainedLocked() {
	if l.leaving && l.running == 0 {
		select {
		case <-l.drained:
		default:
			close(l.drained)
		}
	}
}

// Flush ends every session once what either side had to say has been sent,
// and returns when all have ended or ctx has. next is who leads already, nil
// when that is not known.
func (l *Leader) Flush(ctx context.Context, next *clusterclientv1.Peer) {
	all, frame := l.allSessions(), l.leavingFrame(errLeaving.Error(), true)
	frame.Next = next
	for _, s := range all {
		s.dueLeaving(frame)
	}
	for _, s := range all {
		select {
		case <-s.ended:
		case <-ctx.Done():
			s.w.Finish() // this one says nothing
		}
	}
}

// Close does what Stop does and closes the upstream. It is called once.
func (l *Leader) Close() error { return errors.Join(l.Stop(), l.closeUpstream()) }

// Stop ends every watch and call: this leader does nothing any more. Sessions
// stay until [Leader.Flush], or until their streams end. It waits for the
// upstream's and the handlers' code to return, but not for ever: the error
// then says what still runs. It is idempotent.
func (l *Leader) Stop() error {
	l.stopping.Do(func() { l.stopped = l.stop() })
	return l.stopped
}

func (l *Leader) stop() error {
	l.mu.Lock()
	l.leaving, l.closed = true, true
	keys := l.keys
	l.keys, l.last = make(map[string]*key), keys
	calls := l.callsLocked()
	l.mu.Unlock()
	for _, c := range calls {
		c.cutOff()
	}
	l.cancel(errLeaving)
	l.regs.stop()
	l.trouble.stop()
	l.ramp.stop()
	for _, k := range keys {
		k.close()
	}
	if l.cfg.Warm != nil {
		l.work.Go(l.cfg.Warm.Close)
	}
	return l.await()
}

func (l *Leader) closeUpstream() error {
	if l.up == nil {
		return nil
	}
	return patience.Close(l.up)
}

// outlive keeps in sight those calls of a session which has ended that go on.
func (l *Leader) outlive(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range s.appendCalls(nil) {
		l.loose[c] = struct{}{}
	}
}

// callsLocked returns what runs now, calls and streams.
func (l *Leader) callsLocked() []*call {
	calls := slices.Collect(maps.Keys(l.loose))
	for _, s := range l.sessions {
		calls = s.appendCalls(calls)
	}
	return calls
}

// Wait returns when the last session has ended.
func (l *Leader) Wait() { l.links.Wait() }

// await waits for all goroutines, though not for ever.
func (l *Leader) await() error {
	done := make(chan struct{})
	go func() {
		l.work.Wait()
		close(done)
	}()
	late := time.NewTimer(patience.Most)
	defer late.Stop()
	select {
	case <-done:
		return nil
	case <-late.C:
		return fmt.Errorf("leader: %v after the end: %v", patience.Most, l.stillRunning())
	}
}

// stillRunning names the user code that has not returned.
func (l *Leader) stillRunning() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, c := range l.callsLocked() {
		names = append(names, c.name())
	}
	if len(names) == 0 {
		return "Upstream.Watch has not returned"
	}
	slices.Sort(names)
	return fmt.Sprintf("handlers of %q have not returned", slices.Compact(names))
}
