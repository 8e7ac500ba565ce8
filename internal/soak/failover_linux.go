package soak

import (
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

const (
	// failoverPatience is how long a failover may take before it is given up.
	failoverPatience = time.Minute

	// tellAfter is how long processes keep what they see to themselves: longer
	// than calm and a failover, so that telling it is no part of that.
	tellAfter = 300 * time.Millisecond

	// calm is how long a cluster is left alone between two faults.
	calm = 100 * time.Millisecond

	// calmResigned is the same after a leader resigned: it lets others lead
	// for 3 s, and there have to be some.
	calmResigned = 500 * time.Millisecond
)

// Measure lets the same fault hit the leader again and again, each time once
// the cluster is whole, and returns the history. When a leader is killed, its
// successor finds a new value upstream, and a subscriber is served again when it
// yields that. The other faults hand over an upstream that is open; there
// processes look, every millisecond, whether the value they have is confirmed.
func Measure(cfg Config, op string, times int) (all []Record, err error) {
	cfg.TellAfter, cfg.Herald = tellAfter, op == Kill
	c, err := newCluster(cfg)
	if err != nil {
		return nil, err
	}
	defer func() {
		var res Result
		if err = res.end(c, err); err != nil {
			err = fmt.Errorf("%w; what is left of it is in %s", err, res.Dir)
		}
		all = res.Records
	}()
	for range times {
		if err := c.whole(); err != nil {
			return nil, err
		}
		if op == Resign {
			time.Sleep(calmResigned)
		}
		c.askAll()
		time.Sleep(calm)
		leader := c.alive(func(p *proc) bool { return p.is(leaderRole, c.names()[0]) })
		if len(leader) != 1 {
			continue
		}
		if err := c.hit(leader[0], op); err != nil {
			return nil, err
		}
	}
	return nil, c.whole()
}

// askAll has all processes tell what they have seen so far.
func (c *cluster) askAll() {
	var asked sync.WaitGroup
	for _, p := range c.alive(nil) {
		asked.Go(func() { p.do(processtest.Command{Op: "tell"}) })
	}
	asked.Wait()
}

// whole waits until all processes there are to be take part.
func (c *cluster) whole() error {
	if err := c.grow(); err != nil {
		return err
	}
	ok := c.Wait(time.After(failoverPatience), func() bool {
		for _, p := range c.procs {
			if p.told != p.ended || !p.ended && !p.ready {
				return false
			}
		}
		return c.settledLocked(c.names()[0])
	})
	if !ok {
		return fmt.Errorf("the cluster is not whole after %v", failoverPatience)
	}
	return nil
}

// hit lets a fault hit the leader and waits until the others are served again.
func (c *cluster) hit(leader *proc, op string) error {
	name := c.names()[0]
	term := processtest.Read(c, func() uint64 { return leader.roles[name].Term })
	switch op {
	case Kill:
		leader.signal(Kill, syscall.SIGKILL)
	case Terminate:
		leader.signal(Terminate, syscall.SIGTERM)
	case Stop:
		leader.signal(Stop, syscall.SIGSTOP)
	case Resign:
		c.history.Add(Record{Kind: Fault, Op: Resign, PID: leader.PID})
		c.lives.Go(func() { leader.do(processtest.Command{Op: "resign", Name: name, Timeout: failoverPatience}) })
	}
	since := len(c.history.Records())
	ok := c.Wait(time.After(failoverPatience), func() bool {
		for _, p := range c.procs {
			if p != leader && !p.told && p.terms[name] <= term {
				return false
			}
		}
		return c.cfg.CallPause == 0 || c.answeredSince(since, leader)
	})
	if op == Stop {
		leader.signal(Continue, syscall.SIGCONT)
	}
	if !ok {
		return fmt.Errorf("nobody took over from pid %d within %v", leader.PID, failoverPatience)
	}
	return nil
}

// answeredSince reports whether everybody but the old leader was answered by
// another one; the board is locked.
func (c *cluster) answeredSince(since int, old *proc) bool {
	answered := map[int]bool{}
	for _, r := range c.history.Records()[since:] {
		if r.Kind == Called && r.Err == "" && r.Handler != old.PID {
			answered[r.PID] = true
		}
	}
	for _, p := range c.procs {
		if p != old && !p.told && !answered[p.PID] {
			return false
		}
	}
	return true
}
