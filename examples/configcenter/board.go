package main

import (
	"fmt"
	"strconv"
	"time"
)

// keptEvents is how many events are remembered.
const keptEvents = 50

// A board is what the supervisor knows beyond the states of the workers. The
// supervisor's mutex guards it.
type board struct {
	figures figures
	events  []event
	nextID  int
	write   write // the last one, if not all have seen it yet
	loss    *loss // of a leader without a successor
	leader  *process
}

// figures are what etcd says of its clients, the supervisor not among them.
type figures struct {
	Connections int  `json:"connections"`
	Watchers    int  `json:"watchers"`
	Known       bool `json:"known"`
}

// An event is something that happened, in words.
type event struct {
	ID   int       `json:"id"`
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

type write struct {
	value   string
	version string
	start   time.Time
}

type loss struct {
	pid int
	at  time.Time
}

func (b *board) note(format string, args ...any) {
	b.nextID++
	b.events = append(b.events, event{ID: b.nextID, At: time.Now(), Text: fmt.Sprintf(format, args...)})
	b.events = b.events[max(0, len(b.events)-keptEvents):]
}

// killed notes that a worker was killed from here.
func (b *board) killed(p *process) {
	if b.leader == p {
		b.note("kill -9 %d, the leader", p.pid)
		b.loss = &loss{pid: p.pid, at: time.Now()}
		return
	}
	b.note("kill -9 %d", p.pid)
}

// lost notes that a worker ended without having been killed from here.
func (b *board) lost(p *process, why string) {
	b.note("%d ended: %s", p.pid, why)
	if b.leader == p {
		b.loss = &loss{pid: p.pid, at: time.Now()}
	}
}

func (b *board) set(value string, revision int64, start time.Time) {
	b.write = write{value: value, version: strconv.FormatInt(revision, 10), start: start}
	b.note("%s = %q", key, value)
}

// changed notes what is worth telling of how a worker stands now.
func (b *board) changed(p *process, before state) {
	now := p.state
	switch {
	case now.Role == before.Role && now.Term == before.Term || now.Term == 0:
	case now.Role != "leader":
		b.note("%d follows, term %d", p.pid, now.Term)
	case b.loss != nil:
		b.note("%d leads, term %d, %s after %d was gone", p.pid, now.Term, ms(time.Since(b.loss.at)), b.loss.pid)
		b.leader, b.loss = p, nil
	default:
		b.note("%d leads, term %d", p.pid, now.Term)
		b.leader = p
	}
}

// settle notes that all workers have the value that was written last.
func (b *board) settle(workers []*process) {
	if b.write.version == "" {
		return
	}
	for _, p := range workers {
		if !p.killed && p.state.Version != b.write.version {
			return
		}
	}
	b.note("all %d workers have %q after %s", len(workers), b.write.value, ms(time.Since(b.write.start)))
	b.write = write{}
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
