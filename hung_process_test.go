//go:build unix

package clusterclient_test

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A leader is stopped with calls running, and goes on when another one leads.
func TestProcessLeaderStopped(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "one")
	all := w.Start(3)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.Yielded(all, "s", "one")
	old, term := w.Settled(0, all)
	others := processtest.Without(all, old)
	for _, c := range others {
		c.Must(command{Op: "loop", Method: "once", Tag: "l"})
	}
	stopped := time.Now()
	old.Signal(syscall.SIGSTOP)
	next, later := w.Settled(term, others)
	require.Greater(t, time.Since(stopped), 8*time.Second, "deposed too soon")
	t.Logf("another one leads %v after the leader was stopped", time.Since(stopped).Round(time.Millisecond))
	w.Centre.Set("k", "while stopped")
	w.Yielded(others, "s", "while stopped")

	late := w.Start(1)[0] // finds the new leader although the port is held
	require.Equal(t, next.PID, processtest.Read(w, func() int { return late.Status[processtest.Name].LeaderPID }))
	late.Kill()

	old.Signal(syscall.SIGCONT)
	w.Settled(term, all)
	require.Equal(t, later, processtest.Read(w, func() uint64 { return old.Status[processtest.Name].Term }))
	w.WaitFor("the new leader alone is connected upstream", func() bool { return w.Centre.Open() == 1 })
	w.Centre.Set("k", "afterwards")
	w.Yielded(all, "s", "afterwards")
	for _, c := range others {
		for _, call := range processtest.Read(w, func() []event { return slices.Clone(c.Calls["l"]) }) {
			require.True(t, call.Err == "" || slices.Contains(call.Is, "unknown"), "pid %d: %s", c.PID, call.Err)
		}
	}
}

// A follower that was stopped itself does not accuse its leader.
func TestProcessFollowerStopped(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "one")
	all := w.Start(3)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	leader, term := w.Settled(0, all)
	follower := processtest.Without(all, leader)[0]
	follower.Signal(syscall.SIGSTOP)
	<-time.After(time.Duration(processtest.Rounds(20, 12)) * time.Second)
	w.Centre.Set("k", "two")
	follower.Signal(syscall.SIGCONT)
	w.Yielded(all, "s", "two")
	_, now := w.Settled(0, all)
	require.Equal(t, term, now)
	require.Len(t, processtest.Read(w, func() []clusterStatus { return follower.Roles[processtest.Name] }), 1, "the follower has lost its session")
}

// TestProcessStoppedFollowerIsOwedTheNewest lets 100 MiB of updates pass a
// follower that is stopped.
func TestProcessStoppedFollowerIsOwedTheNewest(t *testing.T) {
	const updates, size = 100, 1 << 20
	value := func(i int) string { return strconv.Itoa(i) + strings.Repeat("x", size) }
	w := processtest.New(t)
	w.Centre.Set("k", value(0))
	all := w.Start(3)
	leader, _ := w.Settled(0, all)
	others := processtest.Without(all, leader)
	stopped, other := others[0], others[1]
	stopped.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	other.Must(command{Op: "subscribe", Key: "small", Tag: "s"})
	leader.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	w.Yielded([]*child{stopped, leader}, "s", value(0))
	before := leader.Weigh()

	stopped.Signal(syscall.SIGSTOP)
	for i := range updates {
		w.Centre.Set("k", value(i+1))
		w.Centre.Set("small", strconv.Itoa(i))
		w.Yielded([]*child{other}, "s", strconv.Itoa(i)) // is not delayed
		w.Yielded([]*child{leader}, "s", value(i+1))     // so that none of them is skipped by the centre
	}
	require.Less(t, leader.Weigh().Heap, before.Heap+updates*size/5, "what the leader holds of %d MiB", updates)

	stopped.Signal(syscall.SIGCONT)
	w.Yielded([]*child{stopped}, "s", value(updates))
	require.Less(t, processtest.Read(w, func() int { return len(stopped.Values["s"]) }), updates/2, "values that were yielded")
}

// Busy processes are slow and nothing else.
func TestProcessBusy(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1")
	w := processtest.New(t)
	all := w.Start(3)
	leader, term := w.Settled(0, all)
	var done []func() event
	for _, c := range []*child{leader, processtest.Without(all, leader)[0]} {
		done = append(done, c.Tell(command{Op: "burn", Timeout: time.Duration(processtest.Rounds(20, 5)) * time.Second}))
	}
	for _, d := range done {
		require.Empty(t, d().Err)
	}
	_, now := w.Settled(0, all)
	require.Equal(t, term, now)
	for _, c := range all {
		require.Len(t, processtest.Read(w, func() []clusterStatus { return c.Roles[processtest.Name] }), 1, "pid %d changed its role or its session", c.PID)
	}
}

// Nothing is known of a process that has the port and is stopped, but that is
// said.
func TestProcessPortHeldByAStoppedProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the system does not tell who is stopped")
	}
	w := processtest.New(t)
	holder := w.Spawn()
	holder.Must(command{Op: "listen", Port: w.Port, Data: "silent", Tag: "x"})
	holder.Signal(syscall.SIGSTOP)
	e := w.Spawn().Do(w.Creation())
	require.Contains(t, e.Is, "foreign", e.Err)
	pid := strconv.Itoa(holder.PID)
	require.Regexp(t, `is held by pid `+pid+` \(.*\), which is stopped, by a signal or a debugger .*kill -CONT `+pid, e.Err)
}
