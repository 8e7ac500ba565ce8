package main

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// stop stops a process, and lets it go on when the test ends.
func stop(t *testing.T, c *processtest.Child) {
	t.Helper()
	c.Signal(syscall.SIGSTOP)
	t.Cleanup(func() { c.Signal(syscall.SIGCONT) })
}

// A leader that hangs says nothing, but its lease does.
func TestStoppedLeader(t *testing.T) {
	tl := buildTool(t)
	w := processtest.New(t)
	lone := w.Start(1)[0]
	stop(t, lone)
	f := one(t, diagnose(t, tl, w), "hung")
	require.Contains(t, f.What, "pid "+strconv.Itoa(lone.PID))
	require.Contains(t, f.Do, "kill -CONT "+strconv.Itoa(lone.PID))
	golden(t, w, "hung-doctor.txt", looked(tl.must(t, exitUnwell, "doctor", "-port", strconv.Itoa(w.Port)).out), lone)
	r := tl.must(t, exitUnwell, "status")
	golden(t, w, "hung-status.txt", r.out, lone)
	require.Contains(t, r.errs, "its last sign of life was")
	name := decode[statusReport](t, tl, exitUnwell, "status").Clusters[0].Names[0]
	require.Equal(t, inspect.Lease{
		State: inspect.Held, Term: 1, PID: lone.PID, Address: name.Leader.Address, Process: "stopped, by a signal or a debugger",
		Renewed: name.Lease.Renewed, Expires: name.Lease.Renewed.Add(10 * time.Second),
	}, *name.Lease)

	require.Contains(t, tl.must(t, exitFailed, "resign", "-yes").errs, "clusterctl depose")
	for range 2 { // again: nobody leads already
		require.Contains(t, tl.must(t, exitNobody, "depose", "-yes", "-timeout", "1s").out, "term 1 of pid "+strconv.Itoa(lone.PID)+" has ended")
	}
	one(t, diagnose(t, tl, w), "deposed")
	golden(t, w, "deposed-status.txt", tl.must(t, exitUnwell, "status").out, lone)
	lone.Signal(syscall.SIGCONT)
	_, term := w.Settled(1, []*processtest.Child{lone})
	require.EqualValues(t, 3, term, "it leads again, in a term of its own")
}

// Nobody waits for the followers' patience when an operator deposes a leader
// that hangs, and it does no harm when it goes on.
func TestDeposeAStoppedLeader(t *testing.T) {
	tl := buildTool(t)
	w := processtest.New(t)
	create := w.Creation()
	create.Depose = time.Hour
	var all []*processtest.Child
	for range 3 {
		all = append(all, w.Spawn())
		all[len(all)-1].Must(create)
	}
	old, term := w.Settled(0, all)
	others := processtest.Without(all, old)
	w.Centre.Set("k", "1")
	subscribed(w, all, "k", "1")
	stop(t, old)
	r := decode[resignReport](t, tl, exitOK, "depose", "-yes", "-timeout", "30s")
	require.Equal(t, old.PID, r.Was.PID)
	require.Equal(t, term, r.Term)
	next, later := w.Settled(term, others)
	require.Equal(t, next.PID, r.Now.Leader.PID)
	require.Equal(t, later, r.Now.Term)
	w.Centre.Set("k", "2")
	w.Yielded(others, "s", "2")

	// The old one still has the port. Everything else works beside it.
	require.Equal(t, "2\n", tl.must(t, exitOK, "get", "k").out)
	require.Contains(t, one(t, diagnose(t, tl, w), "hung").What, "pid "+strconv.Itoa(old.PID))
	status := tl.must(t, exitUnwell, "status")
	golden(t, w, "deposed-leader-status.txt", status.out, old, next)

	old.Signal(syscall.SIGCONT)
	w.Settled(term, all)
	require.Equal(t, later, processtest.Read(w, func() uint64 { return old.Status[processtest.Name].Term }))
	w.WaitFor("the new leader alone is connected upstream", func() bool { return w.Centre.Open() == 1 })
	w.WaitFor("the port is the new leader's", func() bool { return tl.run(t, "status").code == exitOK })
}

// looked leaves out where doctor looked.
func looked(text string) string {
	_, findings, _ := strings.Cut(text, "\n\n")
	return findings
}

func TestDoctorFindsAStoppedLeaderBesideThePort(t *testing.T) {
	tl := buildTool(t)
	w := processtest.New(t)
	w.Start(1)
	other := w.Spawn()
	create := processtest.Command{Op: "create", Name: "other", Port: w.Port, Centre: w.Centre.Address()}
	other.Must(create)
	w.Spawn().Must(create) // is shown the way there, so the owner of the port knows
	stop(t, other)
	f := one(t, diagnose(t, tl, w), "hung")
	require.Equal(t, "other", f.Where)
	require.Contains(t, f.What, "pid "+strconv.Itoa(other.PID))
}

func TestDoctorFindsAStoppedFollower(t *testing.T) {
	tl := buildTool(t)
	w := processtest.New(t)
	all := w.Start(2)
	leads, _ := w.Settled(0, all)
	follows := processtest.Without(all, leads)[0]
	w.Centre.Set("k", "1")
	subscribed(w, all, "k", "1")
	stop(t, follows)
	f := one(t, diagnose(t, tl, w), "stopped-follower")
	require.Contains(t, f.What, strconv.Itoa(follows.PID))
	e := decode[inspect.Explanation](t, tl, exitUnwell, "explain", "k")
	for _, s := range e.Subscribers {
		require.Equal(t, s.PID == follows.PID, s.Holding == nil)
	}
	require.Contains(t, tl.must(t, exitOK, "followers").out, "no answer within 1s")
}
