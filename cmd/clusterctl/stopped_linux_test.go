package main

import (
	"slices"
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

// patience is how long a leader of [patient] may hang: longer than any test.
const patience = 30 * time.Minute

func patient(w *processtest.World) processtest.Command {
	create := w.Creation()
	create.Depose = patience
	return create
}

// A leader that hangs says nothing, but its lease does.
func TestStoppedLeader(t *testing.T) {
	tl, w := begin(t)
	lone := startWith(w, patient(w))[0]
	stop(t, lone)
	mustFind(t, tl, w, exitUnwell, "hung", "hung-leader-stopped", lone)
	r := tl.must(t, exitUnwell, "status")
	golden(t, w, "hung-status.txt", r.out, lone)
	require.Contains(t, r.errs, "its last sign of life was")
	name := decode[statusReport](t, tl, exitUnwell, "status").Clusters[0].Names[0]
	require.Equal(t, inspect.Lease{
		State: inspect.Held, Term: 1, PID: lone.PID, Address: name.Leader.Address, Process: "stopped, by a signal or a debugger",
		Renewed: name.Lease.Renewed, Expires: name.Lease.Renewed.Add(patience),
	}, *name.Lease)

	for _, args := range [][]string{{"keys"}, {"followers"}, {"get", "k"}, {"watch", "k"}, {"explain", "k"}, {"invoke", "once"}, {"publish", "k", "v"}} {
		require.Contains(t, tl.must(t, exitNobody, append(args, "-timeout", "1s")...).errs, processtest.Name+" is led by pid "+strconv.Itoa(lone.PID), "%v", args)
	}
	require.Contains(t, tl.must(t, exitOK, "top", "-n", "1").out, "silent ")
	require.Contains(t, tl.must(t, exitFailed, "resign", "-yes").errs, "clusterctl depose")
	for range 2 { // again: nobody leads already
		require.Contains(t, tl.must(t, exitNobody, "depose", "-yes", "-timeout", "1s").out, "term 1 of pid "+strconv.Itoa(lone.PID)+" has ended")
	}
	mustFind(t, tl, w, exitUnwell, "deposed", "deposed", lone)
	golden(t, w, "deposed-status.txt", tl.must(t, exitUnwell, "status").out, lone)
	lone.Signal(syscall.SIGCONT)
	_, term := w.Settled(1, []*processtest.Child{lone})
	require.EqualValues(t, 3, term, "it leads again, in a term of its own")
}

// Nobody waits for the followers' patience when an operator deposes a leader
// that hangs, and it does no harm when it goes on.
func TestDeposeAStoppedLeader(t *testing.T) {
	tl, w := begin(t)
	all := startWith(w, patient(w), patient(w), patient(w))
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
	mustFind(t, tl, w, exitUnwell, "hung", "hung-owner", old)
	status := tl.must(t, exitUnwell, "status")
	golden(t, w, "deposed-leader-status.txt", status.out, old, next)

	old.Signal(syscall.SIGCONT)
	w.Settled(term, all)
	require.Equal(t, later, processtest.Read(w, func() uint64 { return old.Status[processtest.Name].Term }))
	w.WaitFor("the new leader alone is connected upstream", func() bool { return w.Centre.Open() == 1 })
	w.WaitFor("the port is the new leader's", func() bool { return tl.run(t, "status").code == exitOK })
}

// Another name's leader is found by what the owner of the port tells.
func TestDoctorFindsAStoppedLeaderBesideThePort(t *testing.T) {
	tl, w := begin(t)
	w.Start(1)
	other := w.Spawn()
	create := patient(w)
	create.Name = "other"
	other.Must(create)
	w.Spawn().Must(create) // is shown the way there, so the owner of the port knows
	stop(t, other)
	mustFind(t, tl, w, exitUnwell, "hung", "hung-leader-beside-the-port", other)
}

// A process can hang although the system says that it runs.
func TestDoctorFindsALeaderThatHangs(t *testing.T) {
	for file, depose := range map[string]time.Duration{"hung-leader": patience, "hung-leader-alone": 4 * time.Second} {
		t.Run(file, func(t *testing.T) {
			tl, w := begin(t)
			create := w.Creation()
			create.Depose = depose
			lone := startWith(w, create)[0]
			lone.Tell(processtest.Command{Op: "hang"})
			until(t, "it is silent", func() bool {
				n := look(t, tl)
				return n.Trouble != "" && n.Lease != nil && (depose == patience || n.Lease.State == inspect.Expired)
			})
			mustFind(t, tl, w, exitUnwell, "hung", file, lone)
		})
	}
}

func TestDoctorFindsAFollowerThatHangs(t *testing.T) {
	tl, w := begin(t)
	follower := w.Creation()
	follower.Centre = ""
	all := startWith(w, w.Creation(), w.Creation(), follower)
	all[2].Tell(processtest.Command{Op: "hang"})
	until(t, "it is silent", func() bool {
		return slices.ContainsFunc(decode[followersReport](t, tl, exitOK, "followers").Followers, func(f namedFollower) bool {
			return f.PID == all[2].PID && strings.HasPrefix(f.Trouble, "no answer")
		})
	})
	mustFind(t, tl, w, exitUnwell, "silent-follower", "silent-follower", all[2])
}

func TestDoctorFindsAStoppedFollower(t *testing.T) {
	tl, w := begin(t)
	all := w.Start(2)
	leads, _ := w.Settled(0, all)
	follows := processtest.Without(all, leads)[0]
	w.Centre.Set("k", "1")
	subscribed(w, all, "k", "1")
	stop(t, follows)
	mustFind(t, tl, w, exitUnwell, "stopped-follower", "stopped-follower", follows)
	e := decode[inspect.Explanation](t, tl, exitUnwell, "explain", "k")
	for _, s := range e.Subscribers {
		require.Equal(t, s.PID == follows.PID, s.Holding == nil)
	}
	require.Contains(t, tl.must(t, exitOK, "followers").out, "no answer within 1s")
}

// What a follower that is stopped has not been sent is told with it.
func TestDoctorFindsAStoppedFollowerFarBehind(t *testing.T) {
	tl, w := begin(t)
	all := w.Start(2)
	leads, _ := w.Settled(0, all)
	follows := processtest.Without(all, leads)[0]
	for i := range 8 {
		follows.Must(processtest.Command{Op: "subscribe", Key: strconv.Itoa(i), Tag: strconv.Itoa(i), Quiet: true})
	}
	until(t, "the leader has heard of the keys", func() bool {
		return slices.ContainsFunc(listed(t, tl), func(f inspect.Follower) bool { return f.PID == follows.PID && f.Keys == 8 })
	})
	stop(t, follows)
	for i := range 8 {
		w.Centre.SetRepeated(strconv.Itoa(i), "x", 4<<20)
	}
	until(t, "it is behind", func() bool {
		return slices.ContainsFunc(listed(t, tl), func(f inspect.Follower) bool { return f.Behind > 0 })
	})
	mustFind(t, tl, w, exitUnwell, "stopped-follower", "stopped-follower-behind", follows)
}
