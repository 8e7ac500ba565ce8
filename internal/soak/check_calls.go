package soak

import (
	"slices"
	"strings"
	"time"
)

// The methods that are called; the name of a call begins with its method.
const (
	Idempotent = "ping"
	Once       = "mark" // is not idempotent
)

// blame is how long after a process was killed or stopped a call may say
// that it does not know its outcome.
const blame = 3 * time.Second

// calls holds that a call that is not idempotent runs at most once, that its
// caller knows how it went or knows that it cannot know, and that no call
// fails without a reason.
func (c *checker) calls() {
	runs := map[string][]*Record{}
	for i := range c.all {
		if r := &c.all[i]; r.Kind == Ran {
			runs[r.Call] = append(runs[r.Call], r)
		}
	}
	for call, by := range runs {
		if len(by) > 1 && !strings.HasPrefix(call, Idempotent) {
			c.broken(by[1].At, "ran twice", "call %q ran in pid %d and in pid %d", call, by[0].PID, by[1].PID)
		}
	}
	for i := range c.all {
		if r := &c.all[i]; r.Kind == Called {
			c.call(r, len(runs[r.Call]))
		}
	}
}

// call judges how one call ended. What its handler's process has told since
// came after what it told of the call.
func (c *checker) call(r *Record, runs int) {
	is := func(what string) bool { return slices.Contains(r.Is, what) }
	switch {
	case r.Err == "":
		if runs == 0 && c.lives.of(r.Handler).heard > r.At {
			c.broken(r.At, "answer from nowhere", "pid %d: call %q was answered and never ran", r.PID, r.Call)
		}
	case is("unknown"):
		if strings.HasPrefix(r.Call, Idempotent) {
			c.broken(r.At, "call failed", "pid %d: idempotent call %q: %s", r.PID, r.Call, r.Err)
		} else if !c.blamed(r) {
			c.broken(r.At, "call failed", "pid %d: call %q does not know its outcome, and no process was killed or stopped: %s", r.PID, r.Call, r.Err)
		}
	case is("closed"):
		if c.lives.of(r.PID).told > r.At {
			c.broken(r.At, "call failed", "pid %d: call %q: %s", r.PID, r.Call, r.Err)
		}
	default:
		if is("no leader") && runs > 0 {
			c.broken(r.At, "call failed", "pid %d: call %q says that there was no leader and ran: %s", r.PID, r.Call, r.Err)
		}
		c.broken(r.At, "call failed", "pid %d: call %q after %v: %s", r.PID, r.Call, time.Duration(r.At-r.Began), r.Err)
	}
}

// blamed reports whether somebody was killed or stopped during the call, or so
// shortly before that its caller could not know. A caller that was stopped
// itself may write to a leader that has left meanwhile.
func (c *checker) blamed(r *Record) bool {
	return slices.ContainsFunc(c.lives.hard, func(at int64) bool {
		return at > r.Began-int64(blame) && at < r.At
	}) || slices.ContainsFunc(extended(c.lives.stops, blame), func(s span) bool {
		return s.overlaps(span{r.Began, r.At})
	})
}

// publishing holds that what was acknowledged was written.
func (c *checker) publishing() {
	type write struct{ key, data string }
	written := map[write]bool{}
	for i := range c.all {
		if r := &c.all[i]; r.Kind == Set {
			written[write{r.Key, r.Data}] = true
		}
	}
	for i := range c.all {
		r := &c.all[i]
		if r.Kind == Published && !written[write{r.Key, r.Data}] {
			c.broken(r.At, "write lost", "pid %d: %q was acknowledged as the value of %q and never written", r.PID, r.Data, r.Key)
		}
	}
}
