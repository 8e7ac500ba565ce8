// Package soak lets a cluster of real processes run under faults and holds it
// to its promises.
//
// A [Plan] says, for a seed, which faults happen when. The driver starts the
// processes and a config centre, which is a process too, lets the faults
// happen, and records what all of them tell: a history of [Record] values.
// Now and then it heals everything, waits for the cluster to come to rest, and
// lets [Check] look at the history. [Failovers] takes figures from it.
//
// What is checked, and how a failure is replayed, is in docs/soak.md.
package soak

import (
	"slices"
	"sync"
	"time"
)

// A Kind says what a [Record] is about.
type Kind string

// What processes tell of themselves, each with PID.
const (
	Role       Kind = "role"       // Name, Role, Term, Leader: the client has it from now on
	Subscribed Kind = "subscribed" // Name, Tag, Key: a subscription begins
	Yielded    Kind = "value"      // Tag, Key, Data, Version, Deleted, Term, Seq
	Confirmed  Kind = "confirmed"  // Name, Term: a value is fresh in a new term
	Called     Kind = "call"       // Tag, Call, Began, Handler, Term, Err, Is: a call has ended
	Ran        Kind = "ran"        // Call, Term: the handler of a call begins, in this process
	Registered Kind = "registered" // Key: the registration was acknowledged
	Published  Kind = "published"  // Key, Data: the write was acknowledged
	Failed     Kind = "failed"     // Op, Err: what has no reason to fail did
	Left       Kind = "left"       // Count: what a process that closed everything has open, Op says what
)

// What the config centre tells.
const (
	Set        Kind = "set"        // Key, Data, Version, Deleted: the key has a new value
	Register   Kind = "register"   // Key, Reg, Term, Sent: announced by a leader, with PID
	Deregister Kind = "deregister" // Key, Reg, Term, Sent: withdrawn by a leader, with PID
	Publish    Kind = "publish"    // Key, Data, Term, Sent: written by a leader, with PID
)

// What the driver does and sees.
const (
	Started Kind = "started" // PID
	Fault   Kind = "fault"   // Op, and PID if it is a process's
	Gone    Kind = "gone"    // PID, Count: the process has ended, with this exit code
	Late    Kind = "late"    // For: the driver itself did not run for so long
	Rest    Kind = "rest"    // For: everything was healed so long ago and the cluster had time to rest
	Unrest  Kind = "unrest"  // Name, Err: which client, and the state of it, had not come to rest by then
	Count   Kind = "count"   // Op, Key, Count: what the centre, or the driver at the end, counts at rest
)

// A Record is one thing that happened.
type Record struct {
	At   int64 `json:"at"` // Unix nanoseconds
	Kind Kind  `json:"kind"`
	PID  int   `json:"pid,omitempty"`

	Op      string        `json:"op,omitempty"`
	Name    string        `json:"name,omitempty"` // of the cluster
	Tag     string        `json:"tag,omitempty"`  // of the subscription or caller, in its process
	Key     string        `json:"key,omitempty"`
	Reg     string        `json:"reg,omitempty"` // which registration of the key it is
	Data    string        `json:"data,omitempty"`
	Version string        `json:"version,omitempty"`
	Deleted bool          `json:"deleted,omitempty"`
	Role    string        `json:"role,omitempty"`
	Term    uint64        `json:"term,omitempty"`
	Seq     uint64        `json:"seq,omitempty"`
	Leader  int           `json:"leader,omitempty"` // pid
	Call    string        `json:"call,omitempty"`
	Handler int           `json:"handler,omitempty"` // pid
	Began   int64         `json:"began,omitempty"`   // Unix nanoseconds
	Sent    int64         `json:"sent,omitempty"`    // Unix nanoseconds
	Err     string        `json:"err,omitempty"`
	Is      []string      `json:"is,omitempty"`
	Count   int           `json:"count,omitempty"`
	For     time.Duration `json:"for,omitempty"`
}

// A History is what happened, as it became known: what one process tells is in
// its order, what several tell is only about so. It is safe for concurrent use.
type History struct {
	mu  sync.Mutex
	all []Record
}

// Add appends r, whose time is now if it has none.
func (h *History) Add(r Record) {
	if r.At == 0 {
		r.At = time.Now().UnixNano()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r)
}

// Records returns what there is now, not to be modified.
func (h *History) Records() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clip(h.all)
}
