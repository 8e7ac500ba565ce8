package clusterclient_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
)

func TestProcessCallRunsInLeader(t *testing.T) {
	w := newWorld(t)
	all := w.start(3)
	leader, _ := w.settled(0, all)
	for i, c := range all {
		call := fmt.Sprintf("call %d", i)
		e := c.must(command{Op: "invoke", Method: "once", Data: call})
		require.Equal(t, whoami{Handler: leader.pid, Caller: c.pid, Call: call, Count: 1}, e.Result)
	}
}

func TestProcessCallWhenLeaderDies(t *testing.T) {
	w := newWorld(t)
	leader := w.start(1)[0]
	create := w.creation()
	create.Policy = clusterclient.FollowerOnly
	caller := w.spawn()
	caller.must(create)

	// There is no other leader to turn to: the answer is the death itself.
	done := caller.tell(command{Op: "invoke", Method: "block", Data: "call", Timeout: time.Minute})
	w.waitFor("the handler runs", func() bool { return len(w.centre.runs["call"]) == 1 })
	killed := time.Now()
	leader.kill()
	e := done()
	require.Contains(t, e.Is, "unknown", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", leader.pid))
	require.Less(t, time.Unix(0, e.At).Sub(killed), 3*time.Second)

	// One that certainly was not started waits for the next leader.
	done = caller.tell(command{Op: "invoke", Method: "once", Data: "later", Timeout: time.Minute})
	next := w.start(1)[0]
	e = done()
	require.Empty(t, e.Err)
	require.Equal(t, whoami{Handler: next.pid, Caller: caller.pid, Call: "later", Count: 1}, e.Result)
	require.Len(t, read(w, func() []string { return w.centre.runs["call"] }), 1)
}

func TestProcessIdempotentCallWhenLeaderDies(t *testing.T) {
	w := newWorld(t)
	all := w.start(2)
	leader, _ := w.settled(0, all)
	caller := without(all, leader)[0]
	done := caller.tell(command{Op: "invoke", Method: "steady", Data: "call", Timeout: time.Minute})
	w.waitFor("the handler runs", func() bool { return len(w.centre.runs["call"]) == 1 })
	leader.kill()
	e := done()
	require.Empty(t, e.Err)
	// The next leader is the caller itself.
	require.Equal(t, whoami{Handler: caller.pid, Caller: caller.pid, Call: "call", Count: 2}, e.Result)
}

// atMostOnceKills is how many leaders die under calls; in short mode fewer.
const atMostOnceKills = 50

func TestProcessAtMostOnce(t *testing.T) {
	w := newWorld(t)
	all := w.start(3)
	for _, c := range all {
		c.beginCalls()
	}
	leader, term := w.settled(0, all)
	everybody := slices.Clone(all)
	for range rounds(atMostOnceKills, 5) {
		// Some calls later, a number that does not go with their rhythm.
		more := read(w, func() int { return len(w.centre.runs) }) + 10 + rand.IntN(20)
		w.waitFor("calls are running", func() bool { return len(w.centre.runs) >= more })
		leader.kill()
		leader.isGone()
		all = append(without(all, leader), w.start(1)...)
		all[len(all)-1].beginCalls()
		everybody = append(everybody, all[len(all)-1])
		leader, term = w.settled(term, all)
	}
	for _, c := range all {
		c.endCalls()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for call, by := range w.centre.runs {
		require.Len(t, by, 1, "call %q ran in pids %v", call, by)
	}
	answered, unknown := 0, 0
	for _, c := range everybody {
		for _, tag := range callLoops {
			for _, e := range c.calls[tag] {
				switch {
				case e.Err == "":
					answered++
					require.Len(t, w.centre.runs[e.Data], 1, "call %q was answered", e.Data)
				case slices.Contains(e.Is, "unknown"):
					unknown++
				default:
					t.Errorf("call %q: %s", e.Data, e.Err)
				}
			}
		}
	}
	t.Logf("%d calls answered, %d of unknown outcome", answered, unknown)
	require.NotZero(t, unknown, "no kill hit a call")
}

// callLoops is how many calls each process has under way at once.
var callLoops = []string{"a", "b", "c"}

func (c *child) beginCalls() {
	c.w.t.Helper()
	for _, tag := range callLoops {
		c.must(command{Op: "loop", Method: "once", Tag: tag})
	}
}

func (c *child) endCalls() {
	c.w.t.Helper()
	for _, tag := range callLoops {
		c.must(command{Op: "end", Tag: tag})
	}
}

// callsGoOn waits until each child has made more calls.
func (w *world) callsGoOn(all []*child) {
	w.t.Helper()
	before := map[*child]int{}
	w.mu.Lock()
	for _, c := range all {
		before[c] = len(c.calls["a"])
	}
	w.mu.Unlock()
	w.waitFor("everybody's calls go on", func() bool {
		return !slices.ContainsFunc(all, func(c *child) bool { return len(c.calls["a"]) < before[c]+2 })
	})
}

// noCallFailed holds that each call was answered and ran once.
func (w *world) noCallFailed(all []*child) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range all {
		for _, tag := range callLoops {
			require.NotEmpty(w.t, c.calls[tag])
			for _, e := range c.calls[tag] {
				require.Empty(w.t, e.Err, "pid %d: call %q", c.pid, e.Data)
				require.Len(w.t, w.centre.runs[e.Data], 1, "call %q", e.Data)
			}
		}
	}
}

func TestProcessRollingRestart(t *testing.T) {
	w := newWorld(t)
	all := w.start(4)
	for _, c := range all {
		c.beginCalls()
	}
	everybody := slices.Clone(all)
	for range len(all) * rounds(5, 1) {
		// A process ends its own calls before it goes; those of all others
		// go on.
		old := all[0]
		old.endCalls()
		old.must(command{Op: "close"})
		_ = old.in.Close()
		old.isGone()
		next := w.start(1)[0]
		next.beginCalls()
		all, everybody = append(all[1:], next), append(everybody, next)
		w.callsGoOn(all)
	}
	for _, c := range all {
		c.endCalls()
	}
	w.noCallFailed(everybody)
}

func TestProcessResign(t *testing.T) {
	w := newWorld(t)
	all := w.start(6)
	for _, c := range all {
		c.beginCalls()
	}
	leader, term := w.settled(0, all)
	for range rounds(4, 1) { // who has resigned lets the others go first
		leader.must(command{Op: "resign"})
		leader, term = w.settled(term, all)
		w.callsGoOn(all)
	}
	for _, c := range all {
		c.endCalls()
	}
	w.noCallFailed(all)
}
