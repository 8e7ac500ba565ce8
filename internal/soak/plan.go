package soak

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// What can be done to a cluster: the Op of a [Fault] record.
const (
	Kill      = "kill -9"
	Terminate = "SIGTERM"
	Resign    = "resign"
	Stop      = "SIGSTOP"
	Continue  = "SIGCONT"
	Begin     = "start"
	Burn      = "busy loop"
	Outage    = "upstream killed"
	Restored  = "upstream started again"
	Older     = "upstream goes back to older values" // part of being started again
	Hang      = "upstream stopped"
	Unhang    = "upstream goes on"
)

// A Target says whom a fault hits.
type Target int

// Whom a fault hits.
const (
	Nobody Target = iota // it is the centre's
	Leader
	Follower
	Anybody
)

// A Step is one fault of a plan.
type Step struct {
	At     time.Duration // after the episode's begin
	Op     string
	Target Target
	Pick   uint64        // which of those that could be hit
	For    time.Duration // how long it lasts
	Older  bool          // with Outage: what comes back is older
}

func (s Step) String() string {
	return fmt.Sprintf("%v %s for %v", s.At, s.Op, s.For)
}

// Limits bound what a plan may do.
type Limits struct {
	Length time.Duration // of an episode's faults

	// Deposed is after how long a leader that does not answer is replaced. A
	// leader is sometimes stopped for longer than that; 0 if it is never
	// replaced, and so never stopped for long.
	Deposed time.Duration
}

// A choice is one kind of fault and how often it is taken, compared with the
// others.
type choice struct {
	weight   int
	op       string
	target   Target
	from, to time.Duration // how long it lasts; for one that takes a process away, how soon another comes
	older    bool
}

const never = 0

func (l Limits) choices() []choice {
	long := never
	if l.Deposed > 0 {
		long = 6
	}
	ms := time.Millisecond
	return []choice{
		{20, Kill, Leader, 0, 1000 * ms, false},
		{10, Kill, Follower, 0, 1000 * ms, false},
		{6, Terminate, Leader, 0, 1000 * ms, false},
		{5, Terminate, Follower, 0, 1000 * ms, false},
		{8, Resign, Leader, 0, 0, false},
		{8, Stop, Leader, 10 * ms, 2500 * ms, false},
		{8, Stop, Follower, 10 * ms, 4000 * ms, false},
		{long, Stop, Leader, l.Deposed + 500*ms, l.Deposed + 3000*ms, false},
		{8, Burn, Anybody, 200 * ms, 3000 * ms, false},
		{8, Outage, Nobody, 50 * ms, 2500 * ms, false},
		{4, Outage, Nobody, 50 * ms, 1000 * ms, true},
		{4, Hang, Nobody, 50 * ms, 2500 * ms, false},
	}
}

// Plan returns the faults of one episode, in the order of their times. It
// depends on nothing but its arguments.
func Plan(seed uint64, episode int, limits Limits) []Step {
	rnd := rand.New(rand.NewPCG(seed, uint64(episode)))
	choices := limits.choices()
	total := 0
	for _, c := range choices {
		total += c.weight
	}
	var steps []Step
	// Bursts: several faults close to each other, then time to recover a bit.
	for at := time.Duration(0); at < limits.Length; at += time.Duration(rnd.Int64N(int64(1500 * time.Millisecond))) {
		for range 1 + rnd.IntN(3) {
			steps = append(steps, pick(rnd, choices, rnd.IntN(total), at))
			at += time.Duration(rnd.Int64N(int64(150 * time.Millisecond)))
		}
	}
	return steps
}

func pick(rnd *rand.Rand, choices []choice, n int, at time.Duration) Step {
	for _, c := range choices {
		if n -= c.weight; n >= 0 {
			continue
		}
		s := Step{At: at, Op: c.op, Target: c.target, Pick: rnd.Uint64(), For: c.from, Older: c.older}
		if more := c.to - c.from; more > 0 {
			s.For += time.Duration(rnd.Int64N(int64(more)))
		}
		return s
	}
	panic("a number beyond all weights")
}
