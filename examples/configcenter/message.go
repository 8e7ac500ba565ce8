package main

import "time"

// The supervisor writes orders to a worker's standard input, and the worker
// writes reports to its standard output, a line of JSON each. The end of its
// standard input tells a worker to end, on every system, and also when the
// supervisor was killed and could not tell it anything.

// An order asks a worker for something that it answers in a report.
type order struct {
	ID int    `json:"id"`
	Do string `json:"do"` // a constant below
}

const (
	countWrites = "count writes"
	listValues  = "list values"
)

// A report says how a worker stands, or answers an order, or says why the
// worker ends.
type report struct {
	State  *state  `json:"state,omitempty"`
	Answer *answer `json:"answer,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// A state is how a worker stands.
type state struct {
	Role    string    `json:"role"`
	Term    uint64    `json:"term"`
	Waiting string    `json:"waiting,omitempty"` // for what, between two terms
	Value   string    `json:"value"`
	Known   bool      `json:"known"`   // there is a value, or a deletion
	Deleted bool      `json:"deleted"` // the key does not exist
	Seen    time.Time `json:"seen"`    // when the worker got the value

	Revision string `json:"revision"` // the leader's: term and number
	Version  string `json:"version"`  // etcd's own revision

	Stale  bool      `json:"stale"`
	Since  time.Time `json:"since"` // when it became stale, or fresh
	Reason string    `json:"reason,omitempty"`
}

// An answer is what an order came to.
type answer struct {
	ID     int           `json:"id"`
	PID    int64         `json:"pid"` // of the process that did the work
	Writes int64         `json:"writes,omitempty"`
	Values []string      `json:"values,omitempty"`
	Took   time.Duration `json:"took"`
	Error  string        `json:"error,omitempty"`
}
