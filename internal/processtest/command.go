package processtest

import (
	"context"
	"errors"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
)

// A Command is what the test tells a child, one JSON object a line. Each is
// answered by an [Event] of kind "done" with its ID.
type Command struct {
	ID   int    `json:"id"`
	Op   string `json:"op"`
	Name string `json:"name,omitempty"` // of the cluster
	Tag  string `json:"tag,omitempty"`  // of a subscription, registration or loop

	// For create.
	Port     int                      `json:"port,omitempty"`
	Centre   string                   `json:"centre,omitempty"`  // address; "" for none
	Lasting  bool                     `json:"lasting,omitempty"` // the connection to the centre is made anew when it is lost
	Policy   clusterclient.RolePolicy `json:"policy,omitempty"`
	Identity []string                 `json:"identity,omitempty"`
	Snapshot string                   `json:"snapshot,omitempty"` // directory; "" for none
	MaxWait  time.Duration            `json:"max_wait,omitempty"`
	Depose   time.Duration            `json:"depose,omitempty"` // after this long; stale after half of it, or the least there is

	BlindAfter time.Duration `json:"blind_after,omitempty"` // resigns after that, if another process reaches the centre; 0 for never

	Peers      []int    `json:"peers,omitempty"`
	Secret     string   `json:"secret,omitempty"`
	TLS        TLSFiles `json:"tls,omitzero"`
	RuntimeDir string   `json:"runtime_dir,omitempty"`
	Calls      int      `json:"calls,omitempty"`      // that may be under way; 0 for the default
	Message    int      `json:"message,omitempty"`    // how many bytes a value may have; 0 for the default
	PerSecond  int      `json:"per_second,omitempty"` // bytes that it takes from its leader; 0 for as many as there are
	Address    string   `json:"address,omitempty"`    // the one of 127.0.0.1 if empty

	Times int `json:"times,omitempty"` // how many strangers connect

	Key     string        `json:"key,omitempty"`
	Group   string        `json:"group,omitempty"`
	Data    string        `json:"data,omitempty"`
	Method  string        `json:"method,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
	Pause   time.Duration `json:"pause,omitempty"`  // of a reader after each value, or on average between calls
	States  bool          `json:"states,omitempty"` // a subscription that yields changes of state, too
	Quiet   bool          `json:"quiet,omitempty"`  // a subscription that does not tell when its value was confirmed
	Yields  bool          `json:"yields,omitempty"` // one that tells so only of what it yields, and does not look
}

// An Event is something that a child saw, one JSON object a line.
type Event struct {
	At   int64  `json:"at"` // Unix nanoseconds
	Kind string `json:"kind"`
	ID   int    `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Tag  string `json:"tag,omitempty"`

	Status ClusterStatus `json:"status,omitzero"` // kind "role", and answer to "status"

	Data    string            `json:"data,omitempty"` // kind "value"
	Rev     follower.Revision `json:"rev,omitzero"`
	Version string            `json:"version,omitempty"`
	Stale   bool              `json:"stale,omitempty"`
	Reason  string            `json:"reason,omitempty"` // why
	Origin  string            `json:"origin,omitempty"`
	Deleted bool              `json:"deleted,omitempty"`

	Result Whoami `json:"result,omitzero"` // answer to "invoke", and kind "call"
	Began  int64  `json:"began,omitempty"` // of kind "call", Unix nanoseconds

	Descriptors int `json:"descriptors,omitempty"` // kind "left": that were not open before
	Goroutines  int `json:"goroutines,omitempty"`

	Err string   `json:"err,omitempty"`
	Is  []string `json:"is,omitempty"` // what errors.Is finds in the error
}

// ClusterStatus is what the tests look at of a clusterclient.Status.
type ClusterStatus struct {
	Role      string `json:"role,omitempty"`
	Term      uint64 `json:"term,omitempty"`
	LeaderPID int    `json:"leader_pid,omitempty"`
	Waiting   string `json:"waiting,omitempty"`
}

var sentinels = map[string]error{
	"closed": clusterclient.ErrClosed, "no leader": clusterclient.ErrNoLeader,
	"taken": clusterclient.ErrLeadershipTaken, "identity": clusterclient.ErrIdentityMismatch,
	"foreign": clusterclient.ErrForeignListener, "unknown": clusterclient.ErrOutcomeUnknown,
	"deadline": context.DeadlineExceeded, "refused": clusterclient.ErrPeerRefused, "no candidate": clusterclient.ErrNoCandidate,
}

func (e *Event) fail(err error) {
	if err == nil {
		return
	}
	e.Err = err.Error()
	for name, s := range sentinels {
		if errors.Is(err, s) {
			e.Is = append(e.Is, name)
		}
	}
	if clusterclient.FromLeader(err) {
		e.Is = append(e.Is, "from leader")
	}
}
