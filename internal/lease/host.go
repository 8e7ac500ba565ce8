package lease

import (
	"fmt"
	"time"
)

// A Host is what the processes of one host agree on, and who this one is.
type Host struct {
	// Now is a clock that all of them share and that nobody sets.
	Now func() time.Duration

	// Boot names the run of the host during which Now counts; "" where that
	// cannot be told.
	Boot string

	// Network names the network that this process sees, where a host has
	// several; "" where that cannot be told.
	Network string

	// Self is this process.
	Self Process

	// Look returns the state of a process.
	Look func(Process) State
}

// A Process is one of this host. A PID alone is used again after a while.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start,omitempty"` // in clock ticks since boot; 0 where that cannot be told
	Space string `json:"space,omitempty"` // in which the PID counts, for containers
}

// A State is what the operating system says of a process.
type State int

// The states. Unknown is also that of a process which this one may not see.
const (
	Unknown State = iota
	Gone
	Runs
	Stopped // by a signal or a debugger
)

// String returns the state for people.
func (s State) String() string {
	switch s {
	case Gone:
		return "gone"
	case Runs:
		return "running"
	case Stopped:
		return "stopped, by a signal or a debugger"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("State(%d)", int(s))
}

// System returns this host.
func System() Host {
	start, began := systemClock(), time.Now()
	// Go's own monotonic clock goes on from there; it costs no system call.
	return Host{
		Now:  func() time.Duration { return start + time.Since(began) },
		Boot: bootID(), Network: network(), Self: self(), Look: look,
	}
}
