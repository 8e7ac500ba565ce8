package clusterclient_test

import (
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

func TestProcessSimultaneousStart(t *testing.T) {
	w := processtest.New(t)
	var all []*child
	for range 8 {
		all = append(all, w.Spawn())
	}
	for round := range processtest.Rounds(20, 3) {
		before := processtest.Read(w, func() int { return w.Centre.Accepted })
		create := w.Creation()
		create.Name = fmt.Sprintf("round %d", round)
		var created []func() event
		for _, c := range all {
			created = append(created, c.Tell(create))
		}
		for _, done := range created {
			require.Empty(t, done().Err)
		}
		roles := map[string]int{}
		w.WaitFor("everybody has a role", func() bool {
			clear(roles)
			for _, c := range all {
				roles[c.Status[create.Name].Role]++
			}
			return roles["none"] == 0
		})
		require.Equal(t, map[string]int{"leader": 1, "follower": 7}, roles, "round %d", round)
		pids := map[int]bool{}
		processtest.Read(w, func() int {
			for _, c := range all {
				pids[c.Status[create.Name].LeaderPID] = true
			}
			return 0
		})
		require.Len(t, pids, 1, "round %d: followers name different leaders", round)
		w.Lock()
		accepted, open := w.Centre.Accepted-before, w.Centre.Open()
		w.Unlock()
		require.Equal(t, 1, accepted, "round %d: connections the upstream has seen", round)
		require.Equal(t, 1, open, "round %d: connections open upstream", round)

		var closed []func() event
		for _, c := range all {
			closed = append(closed, c.Tell(command{Op: "close", Name: create.Name}))
		}
		for _, done := range closed {
			require.Empty(t, done().Err)
		}
		w.WaitFor("no connection is left", func() bool { return w.Centre.Open() == 0 })
	}
}

// Each way in which a leader's process can end without a word.
var deaths = map[string]func(*child){
	"killed":  (*child).Kill,
	"SIGTERM": func(c *child) { c.Die(func() { c.Signal(syscall.SIGTERM) }) },
	"exit":    func(c *child) { c.Die(func() { c.Tell(command{Op: "exit"}) }) },
	"panic":   func(c *child) { c.Die(func() { c.Tell(command{Op: "panic"}) }) },
}

func TestProcessLeaderDies(t *testing.T) {
	for _, tt := range []struct {
		death  string
		rounds int
	}{
		{"killed", processtest.Rounds(20, 3)},
		{"SIGTERM", processtest.Rounds(5, 1)},
		{"exit", processtest.Rounds(5, 1)},
		{"panic", processtest.Rounds(5, 1)},
	} {
		t.Run(tt.death, func(t *testing.T) {
			if tt.death == "SIGTERM" && runtime.GOOS == "windows" {
				t.Skip("there are no signals on Windows")
			}
			testLeaderDies(t, deaths[tt.death], tt.rounds)
		})
	}
}

func testLeaderDies(t *testing.T, dies func(*child), n int) {
	w := processtest.New(t)
	w.Centre.Set("k", "first")
	all := w.Start(4)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.Yielded(all, "s", "first")
	leader, term := w.Settled(0, all)
	for round := range n {
		dies(leader)
		leader.IsGone()
		all = processtest.Without(all, leader)
		// settled holds that exactly one of them leads.
		leader, term = w.Settled(term, all)
		w.WaitFor("the new leader alone is connected upstream", func() bool { return w.Centre.Open() == 1 })
		news := fmt.Sprintf("round %d", round)
		w.Centre.Set("k", news)
		w.Yielded(all, "s", news)
		require.Equal(t, 1, processtest.Read(w, func() int { return w.Centre.Watches["k"] }))

		all = append(all, w.Start(1)...)
		all[3].Must(command{Op: "subscribe", Key: "k", Tag: "s"})
		w.Yielded(all, "s", news)
	}
}

func TestProcessLeaderOnly(t *testing.T) {
	w := processtest.New(t)
	first := w.Start(1)[0]
	create := w.Creation()
	create.Policy = clusterclient.LeaderOnly
	e := w.Spawn().Do(create)
	require.Contains(t, e.Is, "taken", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", first.PID))
}

func TestProcessFollowerOnlyAlone(t *testing.T) {
	w := processtest.New(t)
	create := w.Creation()
	create.Policy, create.MaxWait = clusterclient.FollowerOnly, 3*time.Second
	done := w.Spawn().Tell(create)
	// For a second the port is seen to be free. After that, with two seconds
	// left and no pause longer than one, the client finds nobody there.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		lis, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", w.Port))
		require.NoError(t, err)
		require.NoError(t, lis.Close())
	}
	e := done()
	require.Contains(t, e.Is, "no leader", e.Err)
	require.Contains(t, e.Is, "deadline", e.Err)
	require.Contains(t, e.Err, "waiting for a process that can lead (one with WithUpstream)")
	require.Contains(t, e.Err, fmt.Sprintf("127.0.0.1:%d", w.Port))
	require.Zero(t, processtest.Read(w, func() int { return w.Centre.Accepted }))
}

func TestProcessFollowerBeforeLeader(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "one")
	create := w.Creation()
	create.Policy = clusterclient.FollowerOnly
	f := w.Spawn()
	created := f.Tell(create)

	first := w.Start(1)[0]
	require.Empty(t, created().Err)
	f.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	w.Settled(0, []*child{first, f})
	w.Yielded([]*child{f}, "s", "one")

	// No pause of the follower is longer than a second.
	first.Kill()
	first.IsGone()
	absent := time.After(time.Duration(processtest.Rounds(10, 2)) * time.Second)
	w.WaitFor("the follower says what it waits for", func() bool {
		return f.Status[processtest.Name].Waiting != "" && f.Status[processtest.Name].Role == "none"
	})
	<-absent
	w.Centre.Set("k", "two")
	second := w.Start(1)[0]
	w.Settled(0, []*child{second, f})
	w.Yielded([]*child{f}, "s", "two")
	require.Equal(t, []string{"one", "two"}, processtest.Read(w, func() []string { return f.Data("s") }))
}

func TestProcessTwoNames(t *testing.T) {
	w := processtest.New(t)
	create := func(c *child, name string) {
		t.Helper()
		cmd := w.Creation()
		cmd.Name = name
		c.Must(cmd)
	}
	status := func(c *child, name string) clusterStatus {
		return processtest.Read(w, func() clusterStatus { return c.Status[name] })
	}
	a, b, third := w.Spawn(), w.Spawn(), w.Spawn()
	create(a, "X")
	create(b, "Y")
	require.Equal(t, "leader", status(a, "X").Role)
	require.Equal(t, "leader", status(b, "Y").Role)
	create(third, "X")
	create(third, "Y")
	require.Equal(t, a.PID, status(third, "X").LeaderPID)
	require.Equal(t, b.PID, status(third, "Y").LeaderPID)
	create(a, "Y")
	require.Equal(t, b.PID, status(a, "Y").LeaderPID)

	// Closing X in the owner of the port moves X and nothing else.
	third.Must(command{Op: "subscribe", Name: "Y", Key: "k", Tag: "y"})
	a.Must(command{Op: "close", Name: "X"})
	w.WaitFor("X has moved", func() bool { return third.Status["X"].Role == "leader" })
	roles := func(c *child) []clusterStatus {
		return processtest.Read(w, func() []clusterStatus { return c.Roles["Y"] })
	}
	require.Len(t, roles(third), 1, "Y changed: %v", roles(third))
	require.Len(t, roles(a), 1, "Y changed: %v", roles(a))
	w.Centre.Set("k", "v")
	w.Yielded([]*child{third}, "y", "v")

	// A newcomer finds both, whoever owns the port now.
	late := w.Spawn()
	create(late, "X")
	create(late, "Y")
	require.Equal(t, third.PID, status(late, "X").LeaderPID)
	require.Equal(t, b.PID, status(late, "Y").LeaderPID)
}

func TestProcessTwoNamesOwnerKilled(t *testing.T) {
	w := processtest.New(t)
	a, b := w.Spawn(), w.Spawn()
	cmd := w.Creation()
	cmd.Name = "X"
	a.Must(cmd)
	cmd.Name = "Y"
	b.Must(cmd)
	a.Kill()
	a.IsGone()
	// The leader of Y goes on, and takes the port: newcomers of both names
	// come through.
	late := w.Spawn()
	late.Must(cmd)
	require.Equal(t, b.PID, processtest.Read(w, func() int { return late.Status["Y"].LeaderPID }))
	cmd.Name = "X"
	late.Must(cmd)
	require.Equal(t, "leader", processtest.Read(w, func() string { return late.Status["X"].Role }))
	require.Len(t, processtest.Read(w, func() []clusterStatus { return b.Roles["Y"] }), 1)
}

func TestProcessIdentityMismatch(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "secret")
	create := w.Creation()
	create.Identity = []string{"centre", "namespace one"}
	first := w.Spawn()
	first.Must(create)
	first.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	w.Yielded([]*child{first}, "s", "secret")

	create.Identity = []string{"centre", "namespace two"}
	second := w.Spawn()
	e := second.Do(create)
	require.Contains(t, e.Is, "identity", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", first.PID))
	require.NotContains(t, e.Err, "namespace")
	w.Lock()
	defer w.Unlock()
	require.Empty(t, second.Roles[processtest.Name])
	require.Equal(t, 1, w.Centre.Accepted)
	require.Equal(t, 1, w.Centre.Started["k"])
}

func TestProcessForeignListener(t *testing.T) {
	for _, kind := range []string{"silent", "http", "closes"} {
		t.Run(kind, func(t *testing.T) {
			w := processtest.New(t)
			stranger := w.Spawn()
			stranger.Must(command{Op: "listen", Port: w.Port, Data: kind, Tag: "l"})
			e := w.Spawn().Do(w.Creation())
			require.Contains(t, e.Is, "foreign", e.Err)
			if runtime.GOOS == "linux" {
				require.Contains(t, e.Err, fmt.Sprintf("pid %d", stranger.PID))
			}
			require.LessOrEqual(t, processtest.Read(w, func() int { return stranger.Accepted }), 40, "attempts")
			require.Zero(t, processtest.Read(w, func() int { return w.Centre.Accepted }))
		})
	}
}

func TestProcessUpstreamFailsToOpen(t *testing.T) {
	w := processtest.New(t)
	w.Centre.FailOpen("wrong password")
	all, created := whileUpstreamOpens(w)
	w.Centre.Hold(false)
	for _, done := range created {
		require.Contains(t, done().Err, "wrong password")
	}
	w.WaitFor("no connection is left", func() bool { return w.Centre.Open() == 0 })

	w.Centre.FailOpen("")
	for _, c := range all {
		c.Must(w.Creation())
	}
	w.Settled(0, all)
}

// whileUpstreamOpens returns processes that wait for the first of them to open its
// upstream, which is held up, and what tells how each one's Create ended.
func whileUpstreamOpens(w *world) (all []*child, created []func() event) {
	w.T.Helper()
	w.Centre.Hold(true)
	for range 4 {
		c := w.Spawn()
		all = append(all, c)
		created = append(created, c.Tell(w.Creation()))
		w.WaitFor("somebody opens the upstream", func() bool { return w.Centre.Accepted == 1 })
	}
	waitsForUpstream(w, all[0])
	return all, created
}

// waitsForUpstream holds that a newcomer learns from the leader that its
// upstream is being opened.
func waitsForUpstream(w *world, leader *child) {
	w.T.Helper()
	impatient := w.Creation()
	impatient.MaxWait = 5 * time.Second // plenty for it to be told
	e := w.Spawn().Do(impatient)
	require.Contains(w.T, e.Is, "deadline", e.Err)
	require.Contains(w.T, e.Err, fmt.Sprintf("pid %d", leader.PID))
	require.Contains(w.T, e.Err, "the upstream is being opened")
}

func TestProcessUpstreamSlowToOpen(t *testing.T) {
	w := processtest.New(t)
	all, created := whileUpstreamOpens(w)
	opened := time.Now().UnixNano()
	w.Centre.Hold(false)
	for _, done := range created {
		e := done()
		require.Empty(t, e.Err)
		require.Greater(t, e.At, opened, "ready before the upstream")
	}
	w.Settled(0, all)
	require.Equal(t, 1, processtest.Read(w, func() int { return w.Centre.Accepted }))
}
