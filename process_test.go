package clusterclient_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient"
)

// The tests in the files called *_process_test.go and takeover_test.go run
// clients in processes of their own: this test binary, started again. The test
// tells a child what to do, a JSON line on its stdin (command), and the child
// tells what it sees, a JSON line on its stdout (event). A world keeps the
// events; waitFor wakes with each one.

const (
	childEnv = "CLUSTERCLIENT_TEST_CHILD"

	// procName is the cluster's name where there is only one.
	procName = "c"

	// waitPatience is how long waitFor waits before the test fails. It is no
	// expectation of how long anything takes.
	waitPatience = 40 * time.Second
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		childMain()
	}
	os.Exit(m.Run())
}

// rounds is how often a test does the same thing again.
func rounds(full, short int) int {
	if testing.Short() {
		return short
	}
	return full
}

// A world is a free port, a centre, and the processes of one test.
type world struct {
	t      *testing.T
	port   int
	centre *centre

	mu       sync.Mutex    // guards what follows, and what is in centre and children
	changed  chan struct{} // closed and replaced with every event
	children []*child
	leaders  map[string]map[uint64]*child // newest, by name and term
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, changed: make(chan struct{}), leaders: map[string]map[uint64]*child{}}
	lis, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.port = lis.Addr().(*net.TCPAddr).Port
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	w.centre = newCentre(t, w)
	t.Cleanup(w.end)
	return w
}

// change does something under w.mu and wakes waitFor.
func (w *world) change(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	close(w.changed)
	w.changed = make(chan struct{})
}

// waitFor returns once cond, which is called with w.mu held, is true.
func (w *world) waitFor(what string, cond func() bool) {
	w.t.Helper()
	late := time.NewTimer(waitPatience)
	defer late.Stop()
	for {
		w.mu.Lock()
		ok, changed := cond(), w.changed
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			w.t.Fatalf("%v have passed and it is not true that %s", waitPatience, what)
		}
	}
}

// read returns what get, which is called with w.mu held, returns.
func read[T any](w *world, get func() T) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	return get()
}

// end kills what is left and tells what a failed test needs to know.
func (w *world) end() {
	for _, c := range w.children {
		c.kill()
		<-c.gone
		log := c.log.String()
		if strings.Contains(log, "DATA RACE") {
			w.t.Errorf("pid %d has a data race", c.pid)
		}
		if strings.Contains(log, "panic: ") && !strings.Contains(log, "panic: as told") {
			w.t.Errorf("pid %d panicked", c.pid)
		}
		if w.t.Failed() {
			w.t.Logf("pid %d: last status %v, log:\n%s", c.pid, c.status, log)
		}
	}
}

// A child is one process. Its fields are guarded by world.mu.
type child struct {
	w    *world
	pid  int
	cmd  *exec.Cmd
	in   io.WriteCloser
	gone chan struct{} // closed when the process has ended
	log  *tail

	ids       int
	answers   map[int]event
	status    map[string]clusterStatus   // newest, by name
	roles     map[string][]clusterStatus // all
	values    map[string][]event         // by the tag of the subscription
	confirmed map[string]event           // newest, by the tag of the subscription
	over      map[string]event           // by the tag of the subscription
	calls     map[string][]event         // by the tag of the loop
	accepted  int
	left      map[string]bool // names that it was told to close; "" when it was to die
	ended     bool
}

// spawn starts a process that does nothing yet.
func (w *world) spawn() *child {
	w.t.Helper()
	c := &child{
		w: w, gone: make(chan struct{}), log: &tail{},
		cmd:     exec.Command(os.Args[0]),
		answers: map[int]event{}, status: map[string]clusterStatus{}, roles: map[string][]clusterStatus{},
		values: map[string][]event{}, confirmed: map[string]event{}, over: map[string]event{}, calls: map[string][]event{},
		left: map[string]bool{},
	}
	// A race detector that reports at the end would hold the port meanwhile.
	c.cmd.Env = append(os.Environ(), childEnv+"=1", "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	c.cmd.Stderr = c.log
	c.cmd.SysProcAttr = diesWithParent()
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		w.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	c.pid = c.cmd.Process.Pid
	w.change(func() { w.children = append(w.children, c) })
	go c.listen(out)
	return c
}

// listen takes the child's events until its end.
func (c *child) listen(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break // half a line is that of a process that was killed
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			_, _ = fmt.Fprintf(c.log, "not an event: %q\n", line)
			continue
		}
		c.w.change(func() { c.note(e) })
	}
	_ = c.cmd.Wait()
	c.w.change(func() { c.ended = true })
	close(c.gone)
}

// note keeps e; w.mu is held.
func (c *child) note(e event) {
	switch e.Kind {
	case "done":
		c.answers[e.ID] = e
	case "role":
		c.status[e.Name] = e.Status
		c.roles[e.Name] = append(c.roles[e.Name], e.Status)
		if e.Status.Role == clusterclient.RoleLeader.String() {
			c.noteLeader(e)
		}
	case "value":
		c.values[e.Tag] = append(c.values[e.Tag], e)
	case "confirmed":
		c.confirmed[e.Tag] = e
	case "over":
		c.over[e.Tag] = e
	case "call":
		c.calls[e.Tag] = append(c.calls[e.Tag], e)
	case "accepted":
		c.accepted++
	}
}

// noteLeader holds what is true in every test: no two processes lead in one
// term. One that died or left does not count: whoever never heard of it cannot
// know its term.
func (c *child) noteLeader(e event) {
	terms := c.w.leaders[e.Name]
	if terms == nil {
		terms = map[uint64]*child{}
		c.w.leaders[e.Name] = terms
	}
	if other := terms[e.Status.Term]; other != nil && other != c && !other.left[e.Name] && !other.left[""] {
		c.w.t.Errorf("cluster %q: pid %d and pid %d both lead in term %d", e.Name, other.pid, c.pid, e.Status.Term)
	}
	terms[e.Status.Term] = c
}

// tell tells the child what to do and returns a function that waits until that
// is done.
func (c *child) tell(cmd command) (done func() event) {
	c.w.t.Helper()
	if cmd.Name == "" {
		cmd.Name = procName
	}
	c.w.change(func() {
		c.ids++
		cmd.ID = c.ids
		c.left[cmd.Name] = cmd.Op == "close" || cmd.Op == "resign" || c.left[cmd.Name] && cmd.Op != "create"
	})
	line, err := json.Marshal(cmd)
	if err != nil {
		c.w.t.Fatal(err)
	}
	_, _ = c.in.Write(append(line, '\n')) // a process that is gone does not answer
	return func() event {
		c.w.t.Helper()
		var e event
		c.w.waitFor(fmt.Sprintf("pid %d has done %q", c.pid, line), func() bool {
			var ok bool
			e, ok = c.answers[cmd.ID]
			return ok
		})
		return e
	}
}

// do tells the child what to do and waits until that is done.
func (c *child) do(cmd command) event {
	c.w.t.Helper()
	return c.tell(cmd)()
}

// must is do for what does not fail.
func (c *child) must(cmd command) event {
	c.w.t.Helper()
	e := c.do(cmd)
	if e.Err != "" {
		c.w.t.Fatalf("pid %d: %s: %s", c.pid, cmd.Op, e.Err)
	}
	return e
}

// creation is the command that creates a client of the world's cluster.
func (w *world) creation() command {
	return command{Op: "create", Port: w.port, Centre: w.centre.lis.Addr().String()}
}

// start starts n processes that have a client, the first one as leader.
func (w *world) start(n int) []*child {
	w.t.Helper()
	var all []*child
	for range n {
		all = append(all, w.spawn())
	}
	for _, c := range all {
		c.must(w.creation())
	}
	return all
}

// kill is kill -9.
func (c *child) kill() { c.die(func() { _ = c.cmd.Process.Kill() }) }

// die makes the process end, by itself or from outside.
func (c *child) die(by func()) {
	c.w.change(func() { c.left[""] = true })
	by()
}

// isGone waits for the end of the process.
func (c *child) isGone() {
	c.w.t.Helper()
	c.w.waitFor(fmt.Sprintf("pid %d has ended", c.pid), func() bool { return c.ended })
}

// leads reports whether the child leads procName; w.mu is held.
func (c *child) leads() bool {
	return !c.ended && c.status[procName].Role == clusterclient.RoleLeader.String()
}

// follows reports whether the child follows other, in its term; w.mu is held.
func (c *child) follows(other *child) bool {
	st := c.status[procName]
	return st.Role == clusterclient.RoleFollower.String() &&
		st.LeaderPID == other.pid && st.Term == other.status[procName].Term
}

// settled waits until one of the children leads in a term after the one given
// and all others follow it, and returns it and its term.
func (w *world) settled(after uint64, all []*child) (leader *child, term uint64) {
	w.t.Helper()
	w.waitFor("one process leads and all others follow it", func() bool {
		i := slices.IndexFunc(all, (*child).leads)
		if i < 0 {
			return false
		}
		leader, term = all[i], all[i].status[procName].Term
		return term > after && !slices.ContainsFunc(all, func(c *child) bool { return c != leader && !c.follows(leader) })
	})
	return leader, term
}

// without returns all but c.
func without(all []*child, c *child) []*child {
	return slices.DeleteFunc(slices.Clone(all), func(other *child) bool { return other == c })
}

// data returns what a subscription has yielded; w.mu is held.
func (c *child) data(tag string) []string {
	var all []string
	for _, e := range c.values[tag] {
		all = append(all, e.Data)
	}
	return all
}

// yielded waits until each child's subscription has yielded data last.
func (w *world) yielded(all []*child, tag, data string) {
	w.t.Helper()
	w.waitFor(fmt.Sprintf("every %q has yielded %q", tag, data), func() bool {
		return !slices.ContainsFunc(all, func(c *child) bool {
			v := c.values[tag]
			return len(v) == 0 || v[len(v)-1].Data != data
		})
	})
}

// confirmedIn waits until each child's subscription "s" holds a value that was
// confirmed in term.
func (w *world) confirmedIn(all []*child, term uint64) {
	w.t.Helper()
	w.waitFor(fmt.Sprintf("every value is fresh in term %d", term), func() bool {
		return !slices.ContainsFunc(all, func(c *child) bool { return c.confirmed["s"].Rev.Term != term })
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if over := len(l.text) - 64<<10; over > 0 && !strings.Contains(string(l.text), "DATA RACE") {
		l.text = l.text[over:]
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
