package soak

import (
	"container/heap"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// fewest is how many processes are left running whatever a plan says.
const fewest = 3

// An action is something to do at a time.
type action struct {
	at time.Duration
	do func() error
}

// agenda is a heap of actions, the next one first.
type agenda []action

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at < a[j].at }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(action)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// endure lets the faults of a plan happen, each at its time, and undoes them.
// It returns how many there were: a fault that has nobody to hit is none.
func (c *cluster) endure(plan []Step) (faults int, err error) {
	began := time.Now()
	todo := &agenda{}
	for _, s := range plan {
		heap.Push(todo, action{s.At, func() error {
			if undo := c.apply(s); undo != nil {
				heap.Push(todo, action{time.Since(began) + s.For, undo})
				faults++
			}
			return nil
		}})
	}
	for todo.Len() > 0 {
		next := heap.Pop(todo).(action)
		time.Sleep(next.at - time.Since(began))
		if err := next.do(); err != nil {
			return faults, err
		}
	}
	return faults, nil
}

// nothing undoes what needs no undoing.
func nothing() error { return nil }

// apply lets one fault happen. undo is nil when there was nobody to hit.
func (c *cluster) apply(s Step) (undo func() error) {
	switch s.Op {
	case Outage:
		c.centre.outage()
		return func() error { return c.centre.restore(s.Older, s.Pick) }
	case Hang:
		c.centre.hang(true)
		return func() error { c.centre.hang(false); return nil }
	}
	p := c.victim(s)
	if p == nil {
		return nil
	}
	switch s.Op {
	case Kill:
		p.signal(Kill, syscall.SIGKILL)
		return c.begin
	case Terminate:
		p.signal(Terminate, syscall.SIGTERM)
		return c.begin
	case Stop:
		p.signal(Stop, syscall.SIGSTOP)
		return func() error { p.signal(Continue, syscall.SIGCONT); return nil }
	case Resign:
		c.history.Add(Record{Kind: Fault, Op: Resign, PID: p.PID})
		c.lives.Go(func() {
			p.do(processtest.Command{Op: "resign", Name: c.names()[0], Timeout: commandPatience})
		})
	case Burn:
		c.history.Add(Record{Kind: Fault, Op: Burn, PID: p.PID, For: s.For})
		c.lives.Go(func() { p.do(processtest.Command{Op: "burn", Timeout: s.For}) })
	}
	return nothing
}

// victim returns whom a step hits, nil if there is nobody.
func (c *cluster) victim(s Step) *proc {
	name := c.names()[s.Pick%uint64(len(c.names()))]
	if s.Op == Resign {
		name = c.names()[0]
	}
	running := c.alive(func(p *proc) bool { return !p.stopped })
	if len(running) <= fewest && s.Op != Burn && s.Op != Resign {
		return nil
	}
	could := c.alive(func(p *proc) bool {
		switch {
		case p.stopped && s.Op != Kill:
			return false
		case s.Target == Leader:
			return p.is(leaderRole, name)
		case s.Target == Follower:
			return p.is(followerRole, name)
		}
		return true
	})
	if len(could) == 0 {
		return nil
	}
	return could[s.Pick%uint64(len(could))]
}
