package main

import (
	"strconv"
	"syscall"
	"testing"

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

func TestDoctorFindsAStoppedLeader(t *testing.T) {
	tl := buildTool(t)
	w := processtest.New(t)
	lone := w.Start(1)[0]
	stop(t, lone)
	f := one(t, diagnose(t, tl, w), "hung")
	require.Contains(t, f.What, "pid "+strconv.Itoa(lone.PID))
	require.Contains(t, f.Do, "kill -CONT "+strconv.Itoa(lone.PID))
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
