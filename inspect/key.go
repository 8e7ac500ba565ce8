package inspect

import "time"

// A Revision orders the values of one key: by Term, then by Seq.
type Revision struct {
	Term uint64 `json:"term"`
	Seq  uint64 `json:"seq"`
}

// The states of a [Value].
const (
	Fresh   = "fresh"   // the upstream vouches for it
	Stale   = "stale"   // it is only the last known one
	Unknown = "unknown" // there is none yet
)

// A Value is a value without its data, and how far it can be trusted.
type Value struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since"`             // of the state
	Reason   string    `json:"reason,omitempty"`  // why it is not fresh
	Changed  time.Time `json:"changed,omitzero"`  // when the leader heard of it; zero when not from this leadership
	Revision Revision  `json:"revision,omitzero"` // given by the leader
	Version  string    `json:"version,omitempty"` // the upstream's own mark
	Deleted  bool      `json:"deleted,omitempty"`
	Bytes    int       `json:"bytes"`
}

// The states of a [Watch].
const (
	Watching  = "watching"  // the upstream is being watched
	Retrying  = "retrying"  // the upstream's watch failed and is tried again
	Lingering = "lingering" // nobody wants the key any more
	Unwatched = "unwatched" // nobody on the host wants the key
)

// A Watch is the one watch of a key at the upstream.
type Watch struct {
	State    string `json:"state"`
	Failures uint64 `json:"failures,omitempty"` // how often it has ended by itself
	Trouble  string `json:"trouble,omitempty"`

	// BlindSince is since when the leader has not reached the upstream at all;
	// zero while it does.
	BlindSince time.Time `json:"blind_since,omitzero"`
}

// A Key is one key as its leader sees it.
type Key struct {
	Key         string   `json:"key"`
	Watch       Watch    `json:"watch"`
	Value       Value    `json:"value"`
	Subscribers []int    `json:"subscribers"` // pids
	Groups      []string `json:"groups,omitempty"`
}

// An Explanation is the way of one key's value from the upstream to each of
// its subscribers.
type Explanation struct {
	Name    string    `json:"name"`
	Key     string    `json:"key"`
	At      time.Time `json:"at"`
	Leader  Peer      `json:"leader"`
	Term    uint64    `json:"term"`
	Trouble string    `json:"trouble,omitempty"` // why the leader was not heard; what follows is empty then

	Watch       Watch        `json:"watch"`
	Value       Value        `json:"value"` // that the leader holds
	Groups      []Group      `json:"groups,omitempty"`
	Subscribers []Subscriber `json:"subscribers"`

	// Here is what the asking client itself holds; nil when it does not
	// subscribe to the key.
	Here *Holding `json:"here,omitempty"`
}

// A Group is a queue group of one key.
type Group struct {
	Group   string `json:"group"`
	Members int    `json:"members"` // processes
	Queued  int    `json:"queued"`  // updates that wait for a member
	Held    int    `json:"held"`    // handed over, not acknowledged
	Dropped uint64 `json:"dropped"` // for want of room
}

// A Subscriber is one process that subscribes to the key.
type Subscriber struct {
	Peer
	Own    bool   `json:"own"`    // it is the leader's own
	Behind uint64 `json:"behind"` // values that the leader has not sent it yet, which it gets merged

	// Holding is what it says of itself; nil when it did not answer, for the
	// reason Trouble.
	Holding *Holding `json:"holding,omitempty"`
	Trouble string   `json:"trouble,omitempty"`
}

// A Holding is what one process says of itself, and of one key if it was asked
// for one that it has.
type Holding struct {
	Keys          int       `json:"keys"`
	StaleKeys     int       `json:"stale_keys"`
	OldestStale   time.Time `json:"oldest_stale,omitzero"` // since when the key that is stale for the longest is
	Subscriptions int       `json:"subscriptions"`
	Registrations int       `json:"registrations"`
	Calls         int       `json:"calls"` // under way

	Key   *Value         `json:"key,omitempty"`
	OfKey []Subscription `json:"of_key,omitempty"`
}

// A Subscription is one loop or callback of the program.
type Subscription struct {
	Group   string   `json:"group,omitempty"`  // it is a member of
	Yielded Revision `json:"yielded,omitzero"` // newest value the program has taken
	Behind  bool     `json:"behind"`           // there is a newer one that it has not taken
	Queued  int      `json:"queued,omitempty"` // updates for the group that wait in the process
}
