// Package inspect has what can be told of a cluster: who leads, who follows,
// which keys there are, how old each value is and why. clusterclient.Inspect
// and Client.Inspect, Client.Explain and the tool clusterctl give it.
//
// Everything here is a snapshot. Its JSON form is stable: a field keeps its
// name and meaning, a field that is empty may be left out, and fields may be
// added.
package inspect

import "time"

// A Peer is one client of a cluster in one process.
type Peer struct {
	PID      int    `json:"pid"`
	Instance string `json:"instance,omitempty"` // unique to the client, in hex
	Address  string `json:"address,omitempty"`  // where it serves; empty when it does not
	Program  string `json:"program,omitempty"`  // name of the executable
	Build    string `json:"build,omitempty"`    // version of this library in it
}

// A Cluster is what a port carries.
type Cluster struct {
	Address string    `json:"address"` // of the port
	At      time.Time `json:"at"`      // of the snapshot
	Owner   Peer      `json:"owner"`   // has bound the port
	Names   []Name    `json:"names"`   // in alphabetical order
}

// The states of a [Name].
const (
	Led     = "led"     // somebody leads it
	Opening = "opening" // its leader is opening the upstream
	Leaving = "leaving" // its leader is about to go
	Granted = "granted" // somebody is about to lead it
	Failed  = "failed"  // its leader's upstream could not be opened
	Vacant  = "vacant"  // nobody leads it
)

// A Name is one name of a port.
type Name struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"`   // of a state other than led
	Identity string `json:"identity,omitempty"` // fingerprint, in hex, or the SHA-256 of one of more than 64 bytes; empty when the name is all there is
	Term     uint64 `json:"term"`
	Leader   Peer   `json:"leader"`

	// Leadership is what the leader says of itself; nil when it said nothing,
	// for the reason Trouble.
	Leadership *Leadership `json:"leadership,omitempty"`
	Trouble    string      `json:"trouble,omitempty"`

	// Refused says that Trouble is no illness: the leader, or the owner of the
	// port, does not let the asking process in, or is not believed.
	Refused bool `json:"refused,omitempty"`

	// Lease is what the file beside the port says of the leadership; nil when
	// there is none that the asking process can read.
	Lease *Lease `json:"lease,omitempty"`
}

// The states of a [Lease].
const (
	Held     = "held"     // its leader renews it
	Expired  = "expired"  // its leader has not renewed it for as long as it said
	Released = "released" // nobody leads: the leader has left
	Deposed  = "deposed"  // nobody leads: an operator has deposed the leader
)

// A Lease is what is known of a leader although that says nothing.
type Lease struct {
	State   string    `json:"state"`
	Term    uint64    `json:"term"`
	PID     int       `json:"pid"`     // of the leader, of the one that was deposed, or 0
	Address string    `json:"address"` // where it serves, or served
	Process string    `json:"process"` // "running", "stopped, by a signal or a debugger", "gone" or "unknown"
	Renewed time.Time `json:"renewed"` // its last sign of life
	Expires time.Time `json:"expires"` // when it is replaced, unless it renews the lease before
}

// A Node is what the client at one address tells.
type Node struct {
	Self     Peer   `json:"self"`
	Port     string `json:"port"`      // address of the cluster's port
	OwnsPort bool   `json:"owns_port"` // Self has bound it

	// Names has the client's own name first and, when it owns the port, all
	// others that it knows of.
	Names []Name `json:"names"`

	// Explanation is of the key that was asked for.
	Explanation *Explanation `json:"explanation,omitempty"`
}

// A Leadership is what a leader knows of its term.
type Leadership struct {
	Since         time.Time      `json:"since"`
	Upstream      Upstream       `json:"upstream"`
	Followers     []Follower     `json:"followers"` // the leader's own first
	Candidates    int            `json:"candidates"`
	Subscriptions int            `json:"subscriptions"` // of followers, each key once for each
	Registrations []Registration `json:"registrations,omitempty"`
	Running       int            `json:"running"` // calls under way
	Methods       []Method       `json:"methods,omitempty"`
	OnewayFailed  uint64         `json:"oneway_failed,omitempty"`
	Updates       uint64         `json:"updates"`           // values that the upstream reported
	WatchFailures uint64         `json:"watch_failures"`    // watches of the upstream that ended by themselves
	Sent          uint64         `json:"sent"`              // values sent to followers
	Conflated     uint64         `json:"conflated"`         // values left out for a newer one
	Refused       uint64         `json:"refused,omitempty"` // calls, since the leader had too many
	Rejected      []Rejection    `json:"rejected,omitempty"`
	SocketTrouble string         `json:"socket_trouble,omitempty"` // why there is no Unix socket beside the leader's port
	Keys          []Key          `json:"keys,omitempty"`           // only when asked for
	Matched       int            `json:"matched,omitempty"`        // keys that were asked for, of which Keys may have some
}

// A Rejection says which processes were turned away for one reason.
type Rejection struct {
	Code  string    `json:"code"` // such as "IDENTITY_MISMATCH"
	Count uint64    `json:"count"`
	Last  Peer      `json:"last"` // who was the last one
	At    time.Time `json:"at"`   // when
}

// An Upstream is the state of a leader's upstream.
type Upstream struct {
	Open      bool   `json:"open"`
	Watches   int    `json:"watches"`           // keys watched, each once
	StaleKeys int    `json:"stale_keys"`        // keys the upstream does not vouch for
	Trouble   string `json:"trouble,omitempty"` // why, for one of them

	// BlindSince is since when the leader has not reached it at all, for the
	// reason Trouble; zero while it does.
	BlindSince time.Time `json:"blind_since,omitzero"`
}

// A Method is one that the leader's upstream registered, and how often its
// handler was run in this leadership.
type Method struct {
	Method string            `json:"method"`
	Calls  map[string]uint64 `json:"calls,omitempty"` // by gRPC code, such as "OK"
}

// A Registration is something announced upstream on behalf of a process.
type Registration struct {
	Key   string `json:"key"`
	Owner Peer   `json:"owner"`
}

// A Follower is one client as its leader sees it.
type Follower struct {
	Peer
	Since     time.Time `json:"since"`     // when the leader first heard of it
	Own       bool      `json:"own"`       // it is the leader's own
	Candidate bool      `json:"candidate"` // it could lead
	Keys      int       `json:"keys"`      // that it subscribes to
	Behind    int       `json:"behind"`    // keys of which it was not sent the newest yet
	Queued    int       `json:"queued"`    // messages that wait to be sent to it
	Calls     int       `json:"calls"`     // of it under way
	Conflated uint64    `json:"conflated"` // values it never got, since a newer one had come

	// Lane is whether it has a connection of its own for what it is told and
	// what it asks for, since that is much. See docs/design/lanes.md.
	Lane bool `json:"lane,omitempty"`

	// Holding is what it says of itself, when it was asked; nil when it did
	// not answer, for the reason Trouble.
	Holding *Holding `json:"holding,omitempty"`
	Trouble string   `json:"trouble,omitempty"`
}
