package clusterclient

import (
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
)

// Stats is a snapshot of what a client has done since Create, and of what it
// is now. Its JSON form is stable, as that of [Status].
type Stats struct {
	Status

	// Takeovers counts the leaderships that this client has seen begin after
	// the first one, its own ones included, and Gaps how long it had neither
	// led nor followed before each.
	Takeovers uint64            `json:"takeovers"`
	Gaps      inspect.Histogram `json:"gaps"`

	// Terms has the last roles of this client, the present one at the end.
	Terms []Term `json:"terms"`

	// Calls counts the ends of this client's own calls by gRPC code.
	Calls   map[string]uint64 `json:"calls"`
	Running int               `json:"running"` // own calls under way

	// OldestStale is since when the value that is stale for the longest is;
	// zero when none is.
	OldestStale time.Time `json:"oldest_stale,omitzero"`

	// Resyncs counts how often this client has found that it does not hold
	// what its leader says that it does, and has asked for everything again.
	// That is a fault of either, which the log tells of.
	Resyncs uint64 `json:"resyncs"`

	// Rejected tells of the processes that this client, leading or owning the
	// port, has turned away.
	Rejected []inspect.Rejection `json:"rejected,omitempty"`

	// SnapshotWritten is when the snapshot, see [WithSnapshot], was changed
	// last; zero when there is none, and unless this client leads.
	SnapshotWritten time.Time `json:"snapshot_written,omitzero"`

	// Leading is what the leader does; nil unless this client leads.
	Leading *leader.Stats `json:"leading,omitempty"`
}

// A Term is one role that a client has had, from its beginning to its end.
type Term struct {
	Role      Role      `json:"role"`
	Term      uint64    `json:"term"`
	LeaderPID int       `json:"leader_pid"`
	Began     time.Time `json:"began"`
	Ended     time.Time `json:"ended,omitzero"`   // zero while it lasts
	Reason    string    `json:"reason,omitempty"` // why it ended
}

// Stats returns a snapshot. It is consistent for each figure, not across them.
func (c *Client) Stats() Stats {
	st, l, _, _ := c.status.read()
	c.fill(&st, l)
	own := c.driver.Stats()
	s := Stats{
		Status: st, Calls: own.Calls, Running: own.Running, OldestStale: own.OldestStale, Resyncs: own.Resyncs,
		Rejected: c.rejected.all(),
	}
	c.status.addHistory(&s)
	if l != nil {
		leading := l.Stats()
		s.Leading = &leading
		s.SnapshotWritten = l.written()
	}
	return s
}
