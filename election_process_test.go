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
)

func TestProcessSimultaneousStart(t *testing.T) {
	w := newWorld(t)
	var all []*child
	for range 8 {
		all = append(all, w.spawn())
	}
	for round := range rounds(20, 3) {
		before := read(w, func() int { return w.centre.accepted })
		create := w.creation()
		create.Name = fmt.Sprintf("round %d", round)
		var created []func() event
		for _, c := range all {
			created = append(created, c.tell(create))
		}
		for _, done := range created {
			require.Empty(t, done().Err)
		}
		roles := map[string]int{}
		w.waitFor("everybody has a role", func() bool {
			clear(roles)
			for _, c := range all {
				roles[c.status[create.Name].Role]++
			}
			return roles["none"] == 0
		})
		require.Equal(t, map[string]int{"leader": 1, "follower": 7}, roles, "round %d", round)
		pids := map[int]bool{}
		read(w, func() int {
			for _, c := range all {
				pids[c.status[create.Name].LeaderPID] = true
			}
			return 0
		})
		require.Len(t, pids, 1, "round %d: followers name different leaders", round)
		w.mu.Lock()
		accepted, open := w.centre.accepted-before, len(w.centre.conns)
		w.mu.Unlock()
		require.Equal(t, 1, accepted, "round %d: connections the upstream has seen", round)
		require.Equal(t, 1, open, "round %d: connections open upstream", round)

		var closed []func() event
		for _, c := range all {
			closed = append(closed, c.tell(command{Op: "close", Name: create.Name}))
		}
		for _, done := range closed {
			require.Empty(t, done().Err)
		}
		w.waitFor("no connection is left", func() bool { return len(w.centre.conns) == 0 })
	}
}

// Each way in which a leader's process can end without a word.
var deaths = map[string]func(*child){
	"killed":  (*child).kill,
	"SIGTERM": func(c *child) { c.die(func() { _ = c.cmd.Process.Signal(syscall.SIGTERM) }) },
	"exit":    func(c *child) { c.die(func() { c.tell(command{Op: "exit"}) }) },
	"panic":   func(c *child) { c.die(func() { c.tell(command{Op: "panic"}) }) },
}

func TestProcessLeaderDies(t *testing.T) {
	for _, tt := range []struct {
		death  string
		rounds int
	}{
		{"killed", rounds(20, 3)},
		{"SIGTERM", rounds(5, 1)},
		{"exit", rounds(5, 1)},
		{"panic", rounds(5, 1)},
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
	w := newWorld(t)
	w.centre.Set("k", "first")
	all := w.start(4)
	for _, c := range all {
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.yielded(all, "s", "first")
	leader, term := w.settled(0, all)
	for round := range n {
		dies(leader)
		leader.isGone()
		all = without(all, leader)
		// settled holds that exactly one of them leads.
		leader, term = w.settled(term, all)
		w.waitFor("the new leader alone is connected upstream", func() bool { return len(w.centre.conns) == 1 })
		news := fmt.Sprintf("round %d", round)
		w.centre.Set("k", news)
		w.yielded(all, "s", news)
		require.Equal(t, 1, read(w, func() int { return w.centre.watches["k"] }))

		all = append(all, w.start(1)...)
		all[3].must(command{Op: "subscribe", Key: "k", Tag: "s"})
		w.yielded(all, "s", news)
	}
}

func TestProcessLeaderOnly(t *testing.T) {
	w := newWorld(t)
	first := w.start(1)[0]
	create := w.creation()
	create.Policy = clusterclient.LeaderOnly
	e := w.spawn().do(create)
	require.Contains(t, e.Is, "taken", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", first.pid))
}

func TestProcessFollowerOnlyAlone(t *testing.T) {
	w := newWorld(t)
	create := w.creation()
	create.Policy, create.MaxWait = clusterclient.FollowerOnly, 3*time.Second
	done := w.spawn().tell(create)
	// For a second the port is seen to be free. After that, with two seconds
	// left and no pause longer than one, the client finds nobody there.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		lis, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", w.port))
		require.NoError(t, err)
		require.NoError(t, lis.Close())
	}
	e := done()
	require.Contains(t, e.Is, "no leader", e.Err)
	require.Contains(t, e.Is, "deadline", e.Err)
	require.Contains(t, e.Err, "waiting for a process that can lead (one with WithUpstream)")
	require.Contains(t, e.Err, fmt.Sprintf("127.0.0.1:%d", w.port))
	require.Zero(t, read(w, func() int { return w.centre.accepted }))
}

func TestProcessFollowerBeforeLeader(t *testing.T) {
	w := newWorld(t)
	w.centre.Set("k", "one")
	create := w.creation()
	create.Policy = clusterclient.FollowerOnly
	f := w.spawn()
	created := f.tell(create)

	first := w.start(1)[0]
	require.Empty(t, created().Err)
	f.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	w.settled(0, []*child{first, f})
	w.yielded([]*child{f}, "s", "one")

	// No pause of the follower is longer than a second.
	first.kill()
	first.isGone()
	absent := time.After(time.Duration(rounds(10, 2)) * time.Second)
	w.waitFor("the follower says what it waits for", func() bool {
		return f.status[procName].Waiting != "" && f.status[procName].Role == "none"
	})
	<-absent
	w.centre.Set("k", "two")
	second := w.start(1)[0]
	w.settled(0, []*child{second, f})
	w.yielded([]*child{f}, "s", "two")
	require.Equal(t, []string{"one", "two"}, read(w, func() []string { return f.data("s") }))
}

func TestProcessTwoNames(t *testing.T) {
	w := newWorld(t)
	create := func(c *child, name string) {
		t.Helper()
		cmd := w.creation()
		cmd.Name = name
		c.must(cmd)
	}
	status := func(c *child, name string) clusterStatus {
		return read(w, func() clusterStatus { return c.status[name] })
	}
	a, b, third := w.spawn(), w.spawn(), w.spawn()
	create(a, "X")
	create(b, "Y")
	require.Equal(t, "leader", status(a, "X").Role)
	require.Equal(t, "leader", status(b, "Y").Role)
	create(third, "X")
	create(third, "Y")
	require.Equal(t, a.pid, status(third, "X").LeaderPID)
	require.Equal(t, b.pid, status(third, "Y").LeaderPID)
	create(a, "Y")
	require.Equal(t, b.pid, status(a, "Y").LeaderPID)

	// Closing X in the owner of the port moves X and nothing else.
	third.must(command{Op: "subscribe", Name: "Y", Key: "k", Tag: "y"})
	a.must(command{Op: "close", Name: "X"})
	w.waitFor("X has moved", func() bool { return third.status["X"].Role == "leader" })
	roles := func(c *child) []clusterStatus { return read(w, func() []clusterStatus { return c.roles["Y"] }) }
	require.Len(t, roles(third), 1, "Y changed: %v", roles(third))
	require.Len(t, roles(a), 1, "Y changed: %v", roles(a))
	w.centre.Set("k", "v")
	w.yielded([]*child{third}, "y", "v")

	// A newcomer finds both, whoever owns the port now.
	late := w.spawn()
	create(late, "X")
	create(late, "Y")
	require.Equal(t, third.pid, status(late, "X").LeaderPID)
	require.Equal(t, b.pid, status(late, "Y").LeaderPID)
}

func TestProcessTwoNamesOwnerKilled(t *testing.T) {
	w := newWorld(t)
	a, b := w.spawn(), w.spawn()
	cmd := w.creation()
	cmd.Name = "X"
	a.must(cmd)
	cmd.Name = "Y"
	b.must(cmd)
	a.kill()
	a.isGone()
	// The leader of Y goes on, and takes the port: newcomers of both names
	// come through.
	late := w.spawn()
	late.must(cmd)
	require.Equal(t, b.pid, read(w, func() int { return late.status["Y"].LeaderPID }))
	cmd.Name = "X"
	late.must(cmd)
	require.Equal(t, "leader", read(w, func() string { return late.status["X"].Role }))
	require.Len(t, read(w, func() []clusterStatus { return b.roles["Y"] }), 1)
}

func TestProcessIdentityMismatch(t *testing.T) {
	w := newWorld(t)
	w.centre.Set("k", "secret")
	create := w.creation()
	create.Identity = []string{"centre", "namespace one"}
	first := w.spawn()
	first.must(create)
	first.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	w.yielded([]*child{first}, "s", "secret")

	create.Identity = []string{"centre", "namespace two"}
	second := w.spawn()
	e := second.do(create)
	require.Contains(t, e.Is, "identity", e.Err)
	require.Contains(t, e.Err, fmt.Sprintf("pid %d", first.pid))
	require.NotContains(t, e.Err, "namespace")
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, second.roles[procName])
	require.Equal(t, 1, w.centre.accepted)
	require.Equal(t, 1, w.centre.started["k"])
}

func TestProcessForeignListener(t *testing.T) {
	for _, kind := range []string{"silent", "http", "closes"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			stranger := w.spawn()
			stranger.must(command{Op: "listen", Port: w.port, Data: kind, Tag: "l"})
			e := w.spawn().do(w.creation())
			require.Contains(t, e.Is, "foreign", e.Err)
			if runtime.GOOS == "linux" {
				require.Contains(t, e.Err, fmt.Sprintf("pid %d", stranger.pid))
			}
			require.LessOrEqual(t, read(w, func() int { return stranger.accepted }), 40, "attempts")
			require.Zero(t, read(w, func() int { return w.centre.accepted }))
		})
	}
}

func TestProcessUpstreamFailsToOpen(t *testing.T) {
	w := newWorld(t)
	w.centre.FailOpen("wrong password")
	w.centre.Hold(true)
	var all []*child
	var created []func() event
	for range 4 {
		c := w.spawn()
		all = append(all, c)
		created = append(created, c.tell(w.creation()))
		w.waitFor("somebody opens the upstream", func() bool { return w.centre.accepted == 1 })
	}
	w.waitsForUpstream(all[0])
	w.centre.Hold(false)
	for _, done := range created {
		require.Contains(t, done().Err, "wrong password")
	}
	w.waitFor("no connection is left", func() bool { return len(w.centre.conns) == 0 })

	w.centre.FailOpen("")
	for _, c := range all {
		c.must(w.creation())
	}
	w.settled(0, all)
}

// waitsForUpstream holds that a newcomer learns from the leader that its
// upstream is being opened.
func (w *world) waitsForUpstream(leader *child) {
	w.t.Helper()
	impatient := w.creation()
	impatient.MaxWait = time.Second
	e := w.spawn().do(impatient)
	require.Contains(w.t, e.Is, "deadline", e.Err)
	require.Contains(w.t, e.Err, fmt.Sprintf("pid %d", leader.pid))
	require.Contains(w.t, e.Err, "the upstream is being opened")
}

func TestProcessUpstreamSlowToOpen(t *testing.T) {
	w := newWorld(t)
	w.centre.Hold(true)
	var all []*child
	var created []func() event
	for range 4 {
		c := w.spawn()
		all = append(all, c)
		created = append(created, c.tell(w.creation()))
		w.waitFor("somebody opens the upstream", func() bool { return w.centre.accepted == 1 })
	}
	w.waitsForUpstream(all[0])
	opened := time.Now().UnixNano()
	w.centre.Hold(false)
	for _, done := range created {
		e := done()
		require.Empty(t, e.Err)
		require.Greater(t, e.At, opened, "ready before the upstream")
	}
	w.settled(0, all)
	require.Equal(t, 1, read(w, func() int { return w.centre.accepted }))
}
