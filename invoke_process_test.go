package clusterclient_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

func TestProcessCallRunsInLeader(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(3)
	leader, _ := w.Settled(0, all)
	for i, c := range all {
		call := fmt.Sprintf("call %d", i)
		e := c.Must(command{Op: "invoke", Method: "once", Data: call})
		require.Equal(t, whoami{Handler: leader.PID, Caller: c.PID, Call: call, Count: 1}, e.Result)
	}
}

func TestProcessCallWhenLeaderDies(t *testing.T) {
	w := processtest.New(t)
	leader := w.Start(1)[0]
	create := w.Creation()
	create.Policy = clusterclient.FollowerOnly
	caller := w.Spawn()
	caller.Must(create)

	// There is no other leader to turn to: the answer is the death itself.
	done := caller.Tell(command{Op: "invoke", Method: "block", Data: "call", Timeout: time.Minute})
	w.WaitFor("the handler runs", func() bool { return len(w.Centre.Runs["call"]) == 1 })
	killed := time.Now()
	leader.Kill()
	e := done()
	require.Contains(t, e.Is, "unknown", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", leader.PID))
	require.Less(t, time.Unix(0, e.At).Sub(killed), 3*time.Second)

	// One that certainly was not started waits for the next leader.
	done = caller.Tell(command{Op: "invoke", Method: "once", Data: "later", Timeout: time.Minute})
	next := w.Start(1)[0]
	e = done()
	require.Empty(t, e.Err)
	require.Equal(t, whoami{Handler: next.PID, Caller: caller.PID, Call: "later", Count: 1}, e.Result)
	require.Len(t, processtest.Read(w, func() []string { return w.Centre.Runs["call"] }), 1)
}

func TestProcessIdempotentCallWhenLeaderDies(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(2)
	leader, _ := w.Settled(0, all)
	caller := processtest.Without(all, leader)[0]
	done := caller.Tell(command{Op: "invoke", Method: "steady", Data: "call", Timeout: time.Minute})
	w.WaitFor("the handler runs", func() bool { return len(w.Centre.Runs["call"]) == 1 })
	leader.Kill()
	e := done()
	require.Empty(t, e.Err)
	// The next leader is the caller itself.
	require.Equal(t, whoami{Handler: caller.PID, Caller: caller.PID, Call: "call", Count: 2}, e.Result)
}

// atMostOnceKills is how many leaders die under calls; in short mode fewer.
const atMostOnceKills = 50

func TestProcessAtMostOnce(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(3)
	for _, c := range all {
		beginCalls(c)
	}
	leader, term := w.Settled(0, all)
	everybody := slices.Clone(all)
	for range processtest.Rounds(atMostOnceKills, 5) {
		// Some calls later, a number that does not go with their rhythm.
		more := processtest.Read(w, func() int { return len(w.Centre.Runs) }) + 10 + rand.IntN(20)
		w.WaitFor("calls are running", func() bool { return len(w.Centre.Runs) >= more })
		leader.Kill()
		leader.IsGone()
		all = append(processtest.Without(all, leader), w.Start(1)...)
		beginCalls(all[len(all)-1])
		everybody = append(everybody, all[len(all)-1])
		leader, term = w.Settled(term, all)
	}
	for _, c := range all {
		endCalls(c)
	}
	w.Lock()
	defer w.Unlock()
	for call, by := range w.Centre.Runs {
		require.Len(t, by, 1, "call %q ran in pids %v", call, by)
	}
	answered, unknown := 0, 0
	for _, c := range everybody {
		for _, tag := range callLoops {
			for _, e := range c.Calls[tag] {
				switch {
				case e.Err == "":
					answered++
					require.Len(t, w.Centre.Runs[e.Data], 1, "call %q was answered", e.Data)
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

func beginCalls(c *child) {
	for _, tag := range callLoops {
		c.Must(command{Op: "loop", Method: "once", Tag: tag})
	}
}

func endCalls(c *child) {
	for _, tag := range callLoops {
		c.Must(command{Op: "end", Tag: tag})
	}
}

// callsGoOn waits until each child has made more calls.
func callsGoOn(w *world, all []*child) {
	w.T.Helper()
	before := map[*child]int{}
	w.Lock()
	for _, c := range all {
		before[c] = len(c.Calls["a"])
	}
	w.Unlock()
	w.WaitFor("everybody's calls go on", func() bool {
		return !slices.ContainsFunc(all, func(c *child) bool { return len(c.Calls["a"]) < before[c]+2 })
	})
}

// noCallFailed holds that each call was answered and ran once.
func noCallFailed(w *world, all []*child) {
	w.T.Helper()
	w.Lock()
	defer w.Unlock()
	for _, c := range all {
		for _, tag := range callLoops {
			require.NotEmpty(w.T, c.Calls[tag])
			for _, e := range c.Calls[tag] {
				require.Empty(w.T, e.Err, "pid %d: call %q", c.PID, e.Data)
				require.Len(w.T, w.Centre.Runs[e.Data], 1, "call %q", e.Data)
			}
		}
	}
}

func TestProcessRollingRestart(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(4)
	for _, c := range all {
		beginCalls(c)
	}
	everybody := slices.Clone(all)
	for range len(all) * processtest.Rounds(5, 1) {
		// A process ends its own calls before it goes; those of all others
		// go on.
		old := all[0]
		endCalls(old)
		old.Must(command{Op: "close"})
		old.EndInput()
		old.IsGone()
		next := w.Start(1)[0]
		beginCalls(next)
		all, everybody = append(all[1:], next), append(everybody, next)
		callsGoOn(w, all)
	}
	for _, c := range all {
		endCalls(c)
	}
	noCallFailed(w, everybody)
}

func TestProcessResign(t *testing.T) {
	w := processtest.New(t)
	all := w.Start(6)
	for _, c := range all {
		beginCalls(c)
	}
	leader, term := w.Settled(0, all)
	for range processtest.Rounds(4, 1) { // who has resigned lets the others go first
		leader.Must(command{Op: "resign"})
		leader, term = w.Settled(term, all)
		callsGoOn(w, all)
	}
	for _, c := range all {
		endCalls(c)
	}
	noCallFailed(w, all)
}
