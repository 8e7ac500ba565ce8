package processtest

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/clusterclient/clusterclient"
)

// A Child is one process of a [World], whose board guards its fields.
type Child struct {
	*Program

	Ended     bool                       // the process has
	Status    map[string]ClusterStatus   // newest, by name
	Roles     map[string][]ClusterStatus // all
	Values    map[string][]Event         // by the tag of the subscription
	Confirmed map[string]Event           // newest, by the tag of the subscription
	Over      map[string]Event           // by the tag of the subscription
	Calls     map[string][]Event         // by the tag of the loop
	Accepted  int                        // connections of its stranger

	w       *World
	ids     int
	answers map[int]Event
	left    map[string]bool // names that it was told to close; "" when it was to die
}

// Spawn starts a process that does nothing yet.
func (w *World) Spawn() *Child {
	w.T.Helper()
	return w.SpawnAs(os.Args[0])
}

// SpawnAs is Spawn for another build of the test binary.
func (w *World) SpawnAs(path string) *Child {
	w.T.Helper()
	return w.spawn(path, nil)
}

// SpawnUser is Spawn for a process of another user. Only root can do that.
func (w *World) SpawnUser(uid int) *Child {
	w.T.Helper()
	return w.spawn(os.Args[0], []string{fmt.Sprintf("%s=%d", userEnv, uid)})
}

// SpawnApart is Spawn for a process that has a network of its own, with nothing
// in it. Only root can do that, on Linux.
func (w *World) SpawnApart() *Child {
	w.T.Helper()
	return w.spawn(os.Args[0], []string{apartEnv + "=1"})
}

func (w *World) spawn(path string, env []string) *Child {
	w.T.Helper()
	c := &Child{
		Status: map[string]ClusterStatus{}, Roles: map[string][]ClusterStatus{},
		Values: map[string][]Event{}, Confirmed: map[string]Event{}, Over: map[string]Event{}, Calls: map[string][]Event{},
		w: w, answers: map[int]Event{}, left: map[string]bool{},
	}
	var err error
	// Nothing is heard of the process before the world knows it.
	w.Change(func() {
		c.Program, err = startBinary(path, AsClient, slices.Concat(c.w.env, env), c.hear, func() { w.Change(func() { c.Ended = true }) })
		w.children = append(w.children, c)
	})
	if err != nil {
		w.T.Fatal(err)
	}
	return c
}

// hear takes one line from the child.
func (c *Child) hear(line []byte) {
	var e Event
	err := json.Unmarshal(line, &e)
	c.w.Change(func() {
		if err != nil {
			c.w.T.Errorf("pid %d: not an event: %q", c.PID, line)
			return
		}
		c.note(e)
	})
}

// note keeps e; the board is locked.
func (c *Child) note(e Event) {
	switch e.Kind {
	case "done":
		c.answers[e.ID] = e
	case "role":
		c.Status[e.Name] = e.Status
		c.Roles[e.Name] = append(c.Roles[e.Name], e.Status)
		if e.Status.Role == clusterclient.RoleLeader.String() {
			c.noteLeader(e)
		}
	case "value":
		c.Values[e.Tag] = append(c.Values[e.Tag], e)
	case "confirmed":
		c.Confirmed[e.Tag] = e
	case "over":
		c.Over[e.Tag] = e
	case "call":
		c.Calls[e.Tag] = append(c.Calls[e.Tag], e)
	case "accepted":
		c.Accepted++
	}
}

// noteLeader holds what is true in every test: no two processes lead in one
// term. One that died or left does not count: whoever never heard of it cannot
// know its term.
func (c *Child) noteLeader(e Event) {
	terms := c.w.leaders[e.Name]
	if terms == nil {
		terms = map[uint64]*Child{}
		c.w.leaders[e.Name] = terms
	}
	if other := terms[e.Status.Term]; other != nil && other != c && !other.left[e.Name] && !other.left[""] {
		c.w.T.Errorf("cluster %q: pid %d and pid %d both lead in term %d", e.Name, other.PID, c.PID, e.Status.Term)
	}
	terms[e.Status.Term] = c
}

// Tell tells the child what to do and returns a function that waits until that
// is done.
func (c *Child) Tell(cmd Command) (done func() Event) {
	c.w.T.Helper()
	if cmd.Name == "" {
		cmd.Name = Name
	}
	c.w.Change(func() {
		c.ids++
		cmd.ID = c.ids
		c.left[cmd.Name] = cmd.Op == "close" || cmd.Op == "resign" || c.left[cmd.Name] && cmd.Op != "create"
	})
	if err := c.Send(cmd); err != nil {
		c.w.T.Fatal(err)
	}
	return func() Event {
		c.w.T.Helper()
		var e Event
		c.w.WaitFor(fmt.Sprintf("pid %d has done %+v", c.PID, cmd), func() bool {
			var ok bool
			e, ok = c.answers[cmd.ID]
			return ok
		})
		return e
	}
}

// Do tells the child what to do and waits until that is done.
func (c *Child) Do(cmd Command) Event {
	c.w.T.Helper()
	return c.Tell(cmd)()
}

// Must is Do for what does not fail.
func (c *Child) Must(cmd Command) Event {
	c.w.T.Helper()
	e := c.Do(cmd)
	if e.Err != "" {
		c.w.T.Fatalf("pid %d: %s: %s", c.PID, cmd.Op, e.Err)
	}
	return e
}

// Kill is kill -9.
func (c *Child) Kill() { c.Die(func() { c.Signal(os.Kill) }) }

// Die makes the process end, by itself or from outside.
func (c *Child) Die(by func()) {
	c.w.Change(func() { c.left[""] = true })
	by()
}

// IsGone waits for the end of the process.
func (c *Child) IsGone() {
	c.w.T.Helper()
	c.w.WaitFor(fmt.Sprintf("pid %d has ended", c.PID), func() bool { return c.Ended })
}

// Leads reports whether the child leads [Name]; the board is locked.
func (c *Child) Leads() bool {
	return !c.Ended && c.Status[Name].Role == clusterclient.RoleLeader.String()
}

// Follows reports whether the child follows other, in its term; the board is
// locked.
func (c *Child) Follows(other *Child) bool {
	st := c.Status[Name]
	return st.Role == clusterclient.RoleFollower.String() &&
		st.LeaderPID == other.PID && st.Term == other.Status[Name].Term
}

// Data returns what a subscription has yielded; the board is locked.
func (c *Child) Data(tag string) []string {
	var all []string
	for _, e := range c.Values[tag] {
		all = append(all, e.Data)
	}
	return all
}
