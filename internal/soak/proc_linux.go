package soak

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A proc is one process of the cluster.
type proc struct {
	*processtest.Program
	c     *cluster
	names []string // of the clusters it is in

	// Guarded by the cluster's board.
	ids     int
	answers map[int]processtest.Event
	roles   map[string]processtest.ClusterStatus // newest, by name
	last    map[string]Record                    // newest value, by tag
	terms   map[string]uint64                    // in which a value was confirmed, by name
	ready   bool                                 // it does all that it is to do
	told    bool                                 // to leave, or was killed
	stopped bool
	ended   bool
}

// spawn starts a process that does nothing yet.
func (c *cluster) spawn(names []string) (*proc, error) {
	p := &proc{
		c: c, names: names, answers: map[int]processtest.Event{}, roles: map[string]processtest.ClusterStatus{},
		last: map[string]Record{}, terms: map[string]uint64{},
	}
	var err error
	c.Change(func() {
		p.Program, err = processtest.StartProgram(processtest.AsClient, c.env, p.hear, p.end)
		if err != nil {
			return
		}
		c.history.Add(Record{Kind: Started, PID: p.PID})
		c.procs = append(c.procs, p)
	})
	return p, err
}

// end notes the end of the process.
func (p *proc) end() {
	p.c.Change(func() {
		p.ended = true
		p.c.history.Add(Record{Kind: Gone, PID: p.PID, Count: p.ExitCode()})
		log := p.Log()
		for _, bad := range []string{"DATA RACE", "panic: ", "fatal error: "} {
			if strings.Contains(log, bad) {
				p.c.history.Add(Record{Kind: Failed, PID: p.PID, Op: "run", Err: bad + " in its log"})
			}
		}
	})
}

// hear takes one line from the process.
func (p *proc) hear(line []byte) {
	var e processtest.Event
	err := json.Unmarshal(line, &e)
	p.c.Change(func() {
		if err != nil {
			p.c.history.Add(Record{Kind: Failed, PID: p.PID, Op: "understand", Err: fmt.Sprintf("%q: %v", line, err)})
			return
		}
		p.note(e)
	})
}

// note records what the process tells; the board is locked.
func (p *proc) note(e processtest.Event) {
	add := p.c.history.Add
	r := Record{At: e.At, PID: p.PID, Name: e.Name, Tag: e.Tag, Err: e.Err, Is: e.Is}
	switch e.Kind {
	case "done":
		p.answers[e.ID] = e
	case "role":
		p.roles[e.Name] = e.Status
		r.Kind, r.Role, r.Term, r.Leader = Role, e.Status.Role, e.Status.Term, e.Status.LeaderPID
		add(r)
	case "value", "confirmed":
		r.Name, r.Key = ofTag(e.Tag)
		r.Term, r.Seq = e.Rev.Term, e.Rev.Seq
		if e.Kind == "confirmed" {
			p.terms[r.Name] = r.Term
			r.Kind = Confirmed
			add(r)
			return
		}
		r.Kind, r.Data, r.Version, r.Deleted = Yielded, brief(e.Data), e.Version, e.Deleted
		p.last[e.Tag] = r
		add(r)
	case "call":
		r.Kind, r.Call, r.Began, r.Handler, r.Term = Called, e.Data, e.Began, e.Result.Handler, e.Result.Term
		add(r)
	case "ran":
		r.Kind, r.Call, r.Term = Ran, e.Result.Call, e.Result.Term
		add(r)
	case "left":
		p.noteLeft(r, e)
	}
}

func (p *proc) noteLeft(r Record, e processtest.Event) {
	if e.Err != "" {
		p.c.history.Add(Record{At: e.At, Kind: Failed, PID: p.PID, Op: "close", Err: e.Err})
	}
	r.Kind, r.Err, r.Is = Left, "", nil
	r.Op, r.Count = Descriptors, e.Descriptors
	p.c.history.Add(r)
	r.Op, r.Count = Goroutines, e.Goroutines
	p.c.history.Add(r)
}

// brief returns what a value begins with, and its length: values are told
// apart by that.
func brief(data string) string {
	head, padding, _ := strings.Cut(data, "|")
	return fmt.Sprintf("%s+%d", head, len(padding))
}

// A tag names the subscription of a key in a cluster.
func tagOf(name, key string) string { return name + " " + key }

func ofTag(tag string) (name, key string) {
	name, key, _ = strings.Cut(tag, " ")
	return name, key
}

// do tells the process what to do and waits for the answer; false means that
// it ended before.
func (p *proc) do(cmd processtest.Command) (processtest.Event, bool) {
	var id int
	p.c.Change(func() {
		p.ids++
		id = p.ids
	})
	cmd.ID = id
	if err := p.Send(cmd); err != nil {
		return processtest.Event{}, false
	}
	var e processtest.Event
	ok := false
	p.c.Wait(nil, func() bool {
		e, ok = p.answers[id]
		return ok || p.ended
	})
	return e, ok
}

// must does what has no reason to fail, again while only the upstream is to
// blame; false means that it came to nothing.
func (p *proc) must(cmd processtest.Command) bool {
	for {
		e, ok := p.do(cmd)
		switch {
		case !ok:
			return false
		case e.Err == "":
			return true
		case p.excused(e):
			time.Sleep(retryPause)
		default:
			p.c.Change(func() {
				if !p.told {
					p.c.history.Add(Record{At: e.At, Kind: Failed, PID: p.PID, Op: cmd.Op, Err: e.Err})
				}
			})
			return false
		}
	}
}

// retryPause is how long a process waits before it does again what failed for
// the upstream's sake.
const retryPause = 200 * time.Millisecond

// excused reports whether what failed did so since the upstream was in trouble.
func (p *proc) excused(e processtest.Event) bool {
	return slices.Contains(e.Is, "from leader") || strings.Contains(e.Err, "open upstream")
}

// live makes a process do all that it is to do.
func (c *cluster) live(p *proc) {
	ok := p.must(processtest.Command{Op: "close all, when terminated"})
	for _, name := range p.names {
		ok = ok && p.must(processtest.Command{Op: "create", Name: name, Port: c.port, Centre: c.centre.address, Lasting: true, MaxWait: createPatience, Depose: c.cfg.Depose})
		for i, key := range c.keysOf(name) {
			if !ok {
				break
			}
			tag := tagOf(name, key)
			c.history.Add(Record{Kind: Subscribed, PID: p.PID, Name: name, Tag: tag, Key: key})
			ok = p.must(processtest.Command{Op: "subscribe", Name: name, Tag: tag, Key: key, Quiet: i > 0, Yields: i == 0 && c.cfg.Herald, Pause: c.readPause(p, i)})
		}
		for _, method := range []string{Once, Idempotent} {
			if c.cfg.CallPause == 0 {
				break
			}
			ok = ok && p.must(processtest.Command{Op: "calls", Name: name, Tag: method + " " + name, Method: method, Pause: c.callPause(p)})
		}
	}
	if ok && c.cfg.Unlisted {
		c.Change(func() { p.ready = true })
		return
	}
	if key := fmt.Sprintf(registrationKey, p.PID); ok && p.must(processtest.Command{Op: "register", Name: p.names[0], Tag: "r", Key: key, Data: "address"}) {
		c.Change(func() {
			c.history.Add(Record{Kind: Registered, PID: p.PID, Key: key})
			p.ready = true
		})
	}
}

// createPatience is how long Create may wait.
const createPatience = time.Minute

// callPause makes some callers busy.
func (c *cluster) callPause(p *proc) time.Duration {
	if c.cfg.BusyPause > 0 && p.PID%4 == 0 {
		return c.cfg.BusyPause
	}
	return c.cfg.CallPause
}

// readPause makes some subscribers slow.
func (c *cluster) readPause(p *proc, i int) time.Duration {
	if (p.PID+i)%7 == 0 {
		return c.cfg.SlowReader
	}
	return 0
}

// signal sends a signal and records that as the fault op.
func (p *proc) signal(op string, sig syscall.Signal) {
	p.c.Change(func() {
		switch op {
		case Kill, Terminate:
			p.told = true
		case Stop:
			p.stopped = true
		case Continue:
			p.stopped = false
		}
		if op == Continue { // it goes on at the latest when this is known
			p.Signal(sig)
		}
		p.c.history.Add(Record{Kind: Fault, Op: op, PID: p.PID})
	})
	if op != Continue {
		p.Signal(sig)
	}
}

// is reports whether the process holds role in the cluster called name; the
// board is locked.
func (p *proc) is(role, name string) bool { return p.roles[name].Role == role && !p.told && !p.ended }
