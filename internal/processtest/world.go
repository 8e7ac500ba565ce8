// Package processtest runs clients in processes of their own: the test binary,
// started again. The test tells a child what to do, a JSON line on its stdin
// ([Command]), and the child tells what it sees, a JSON line on its stdout
// ([Event]). A [World] keeps the events; its WaitFor wakes with each one. A
// [Centre] is the upstream of all of them, and counts.
package processtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// Name is the cluster's name where there is only one.
const Name = "c"

// Main is what TestMain of a package calls whose tests start processes.
func Main(m *testing.M) {
	RunChild()
	os.Exit(m.Run())
}

// RunChild does what [Main] does for a process that a test has started, and
// returns in the test.
func RunChild() {
	become(os.Getenv(userEnv))
	depart(os.Getenv(apartEnv))
	switch os.Getenv(childEnv) {
	case AsClient:
		childMain()
	case AsCentre:
		centreMain()
	}
}

// Rounds is how often a test does the same thing again.
func Rounds(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// A World is a free port, a centre, and the processes of one test.
type World struct {
	*Board // guards what is in Centre and in the children, and what follows leaders

	T          testing.TB
	Port       int
	Centre     *Centre
	RuntimeDir string // that the environment of the children names

	env      []string // of the children
	children []*Child
	leaders  map[string]map[uint64]*Child // newest, by name and term
}

// New returns a world without processes. What is left of it when the test
// ends is killed.
func New(t testing.TB) *World {
	w := &World{Board: NewBoard(), T: t, leaders: map[string]map[uint64]*Child{}}
	var err error
	if w.Port, err = FreePort(); err != nil {
		t.Fatal(err)
	}
	w.Centre, err = NewCentre(w.Board, "127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Centre.Close)
	w.RuntimeDir = runtimeDir(t)
	w.env = []string{runtimeDirEnv + "=" + w.RuntimeDir}
	t.Cleanup(w.end)
	return w
}

const runtimeDirEnv = "XDG_RUNTIME_DIR"

// runtimeDir makes a directory of the test's own. A test may have chosen one
// already.
func runtimeDir(t testing.TB) string {
	if dir := os.Getenv(runtimeDirEnv); strings.HasPrefix(dir, os.TempDir()) {
		return dir
	}
	dir, err := os.MkdirTemp("", "cc") // a short name: the path of a socket has to be
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// WaitFor returns once cond, which is called with the board locked, is true.
func (w *World) WaitFor(what string, cond func() bool) {
	w.T.Helper()
	w.waitFor(w.T, what, cond)
}

// end kills what is left and tells what a failed test needs to know.
func (w *World) end() {
	for _, c := range w.children {
		c.Kill()
		<-c.Gone()
		log := c.Log()
		if strings.Contains(log, "DATA RACE") {
			w.T.Errorf("pid %d has a data race", c.PID)
		}
		if strings.Contains(log, "panic: ") && !strings.Contains(log, "panic: as told") {
			w.T.Errorf("pid %d panicked", c.PID)
		}
		if w.T.Failed() {
			w.T.Logf("pid %d: last status %v, log:\n%s", c.PID, c.Status, log)
		}
	}
}

// Creation is the command that creates a client of the world's cluster.
func (w *World) Creation() Command {
	return Command{Op: "create", Port: w.Port, Centre: w.Centre.Address()}
}

// Start starts n processes that have a client, the first one as leader.
func (w *World) Start(n int) []*Child {
	w.T.Helper()
	var all []*Child
	for range n {
		all = append(all, w.Spawn())
	}
	for _, c := range all {
		c.Must(w.Creation())
	}
	return all
}

// Settled waits until one of the children leads in a term after the one given
// and all others follow it, and returns it and its term.
func (w *World) Settled(after uint64, all []*Child) (leader *Child, term uint64) {
	w.T.Helper()
	w.WaitFor("one process leads and all others follow it", func() bool {
		i := slices.IndexFunc(all, (*Child).Leads)
		if i < 0 {
			return false
		}
		leader, term = all[i], all[i].Status[Name].Term
		return term > after && !slices.ContainsFunc(all, func(c *Child) bool { return c != leader && !c.Follows(leader) })
	})
	return leader, term
}

// Yielded waits until each child's subscription has yielded data last.
func (w *World) Yielded(all []*Child, tag, data string) {
	w.T.Helper()
	w.WaitFor(fmt.Sprintf("every %q has yielded %q", tag, data), func() bool {
		return !slices.ContainsFunc(all, func(c *Child) bool {
			v := c.Values[tag]
			return len(v) == 0 || v[len(v)-1].Data != data
		})
	})
}

// ConfirmedIn waits until each child's subscription "s" holds a value that was
// confirmed in term.
func (w *World) ConfirmedIn(all []*Child, term uint64) {
	w.T.Helper()
	w.WaitFor(fmt.Sprintf("every value is fresh in term %d", term), func() bool {
		return !slices.ContainsFunc(all, func(c *Child) bool { return c.Confirmed["s"].Rev.Term != term })
	})
}

// Without returns all but c.
func Without(all []*Child, c *Child) []*Child {
	return slices.DeleteFunc(slices.Clone(all), func(other *Child) bool { return other == c })
}
