package soak

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A centre is the config centre, in a process of its own. What it holds
// outlives that process, as on a disk.
type centre struct {
	c       *cluster
	address string

	// Guarded by the cluster's board.
	prog    *processtest.Program // nil while it is down
	hung    bool
	ids     int
	sets    int // values there have been; numbers them
	answers map[int]processtest.CentreEvent
	values  map[string][]processtest.CentreEvent // all, by key, the newest last
	present map[string]processtest.CentreEvent   // registrations, by owner and number
	version int
}

func newCentre(c *cluster) (*centre, error) {
	port, err := processtest.FreePort()
	if err != nil {
		return nil, err
	}
	u := &centre{
		c: c, address: fmt.Sprintf("127.0.0.1:%d", port), answers: map[int]processtest.CentreEvent{},
		values: map[string][]processtest.CentreEvent{}, present: map[string]processtest.CentreEvent{},
	}
	for _, key := range c.allKeys() {
		u.values[key] = []processtest.CentreEvent{{Kind: "set", Key: key, Deleted: true}}
		c.history.Add(Record{Kind: Set, Key: key, Deleted: true})
	}
	return u, u.start()
}

// start starts the process with what is held.
func (u *centre) start() error {
	var prog *processtest.Program
	var err error
	u.c.Change(func() {
		prog, err = processtest.StartProgram(processtest.AsCentre, nil, u.hear, func() { u.c.Change(func() {}) })
	})
	if err != nil {
		return err
	}
	begin := processtest.CentreCommand{Op: "begin", Address: u.address}
	if u.c.cfg.Herald {
		begin.Herald = u.c.keysOf(u.c.names()[0])[0]
	}
	u.c.Change(func() {
		begin.Version = u.version
		for _, all := range u.values {
			if v := all[len(all)-1]; v.Version != "" {
				begin.Values = append(begin.Values, v)
			}
		}
		for _, r := range u.present {
			begin.Present = append(begin.Present, r)
		}
	})
	if e, ok := u.do(prog, begin); !ok || e.Err != "" {
		return errors.New("the centre does not start: " + e.Err)
	}
	u.c.Change(func() { u.prog = prog })
	return nil
}

// program returns the process, nil while it is down.
func (u *centre) program() *processtest.Program {
	return processtest.Read(u.c, func() *processtest.Program { return u.prog })
}

// do tells the process what to do and waits for the answer.
func (u *centre) do(prog *processtest.Program, cmd processtest.CentreCommand) (e processtest.CentreEvent, ok bool) {
	u.c.Change(func() {
		u.ids++
		cmd.ID = u.ids
	})
	if prog == nil || prog.Send(cmd) != nil {
		return e, false
	}
	u.c.Wait(time.After(commandPatience), func() bool {
		e, ok = u.answers[cmd.ID]
		return ok
	})
	return e, ok
}

const commandPatience = 20 * time.Second

// hear takes one line from the process.
func (u *centre) hear(line []byte) {
	var e processtest.CentreEvent
	if json.Unmarshal(line, &e) != nil {
		return
	}
	u.c.Change(func() { u.note(e) })
}

// note records what the centre tells; the board is locked.
func (u *centre) note(e processtest.CentreEvent) {
	r := Record{
		At: e.At, PID: e.PID, Name: u.c.nameOf(e.Key), Key: e.Key, Data: brief(e.Data),
		Version: e.Version, Deleted: e.Deleted, Term: e.Term, Sent: e.Sent,
	}
	owner := fmt.Sprintf("%x %d", e.Owner, e.Reg)
	switch e.Kind {
	case "done":
		u.answers[e.ID] = e
		return
	case "set":
		r.Kind = Set
		u.values[e.Key] = append(u.values[e.Key], e)
		u.version, _ = strconv.Atoi(e.Version)
	case "register":
		r.Kind, r.Reg = Register, owner
		u.present[owner] = e
	case "deregister":
		r.Kind, r.Reg = Deregister, owner
		delete(u.present, owner)
	case "publish":
		r.Kind = Publish
	default:
		return
	}
	u.c.history.Add(r)
}

// change gives a random key a new value, or now and then none.
func (u *centre) change(rnd *rand.Rand) {
	keys := u.c.allKeys()
	cmd := processtest.CentreCommand{Op: "set", Key: keys[rnd.IntN(len(keys))]}
	if rnd.IntN(30) == 0 {
		cmd.Op = "delete"
	}
	var prog *processtest.Program
	u.c.Change(func() {
		u.sets++
		cmd.Data = u.dataLocked(cmd.Key, rnd)
		if !u.hung {
			prog = u.prog
		}
	})
	if prog != nil {
		_ = prog.Send(cmd)
	}
}

// dataLocked returns a value that there has not been yet, short or, now and
// then, long.
func (u *centre) dataLocked(key string, rnd *rand.Rand) string {
	size := rnd.IntN(100)
	if rnd.IntN(50) == 0 {
		size = rnd.IntN(200_000)
	}
	return fmt.Sprintf("%s#%d|%0*d", key, u.sets, size, 0)
}

// outage kills the process.
func (u *centre) outage() {
	var prog *processtest.Program
	u.c.Change(func() {
		if prog = u.prog; prog != nil {
			u.prog, u.hung = nil, false
			u.c.history.Add(Record{Kind: Fault, Op: Outage})
			prog.Signal(syscall.SIGKILL)
		}
	})
	if prog != nil {
		<-prog.Gone()
	}
}

// restore starts it again, if it is down.
func (u *centre) restore(older bool, pick uint64) error {
	if u.program() != nil {
		return nil
	}
	if older {
		u.c.Change(func() { u.goBackLocked(pick) })
	}
	err := u.start()
	u.c.history.Add(Record{Kind: Fault, Op: Restored})
	return err
}

// goBackLocked makes some keys hold what they held before, as after the
// restoration of a backup.
func (u *centre) goBackLocked(pick uint64) {
	u.c.history.Add(Record{Kind: Fault, Op: Older})
	rnd := rand.New(rand.NewPCG(pick, 0))
	for key, all := range u.values {
		if back := len(all) - 1 - rnd.IntN(4); back >= 0 && back < len(all)-1 {
			v := all[back]
			u.values[key] = append(all, v)
			u.c.history.Add(Record{Kind: Set, Key: key, Data: brief(v.Data), Version: v.Version, Deleted: v.Deleted})
		}
	}
	u.version = max(0, u.version-rnd.IntN(10))
}

// hang stops the process, or lets it go on.
func (u *centre) hang(hung bool) {
	u.c.Change(func() {
		if u.prog == nil || u.hung == hung {
			return
		}
		u.hung = hung
		op, sig := Hang, syscall.SIGSTOP
		if !hung {
			op, sig = Unhang, syscall.SIGCONT
		}
		u.c.history.Add(Record{Kind: Fault, Op: op})
		u.prog.Signal(sig)
	})
}

// newestLocked returns the value of a key.
func (u *centre) newestLocked(key string) processtest.CentreEvent {
	all := u.values[key]
	return all[len(all)-1]
}

// close ends the process.
func (u *centre) close() {
	u.hang(false)
	if prog := u.program(); prog != nil {
		prog.EndInput()
		<-prog.Gone()
	}
}
