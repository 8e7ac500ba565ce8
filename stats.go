package clusterclient

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/histogram"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Stats is a snapshot of what a client has done since Create, and of what it
// is now. Its JSON form is stable, as that of [Status].
type Stats struct {
	Status

	// Takeovers counts the leaderships that this client has seen begin after
	// the first one, its own ones included, and Gaps how long it had neither
	// led nor followed before each.
	Takeovers uint64             `json:"takeovers"`
	Gaps      histogram.Snapshot `json:"gaps"`

	// Terms has the last roles of this client, the present one at the end.
	Terms []Term `json:"terms"`

	// Calls counts the ends of this client's own calls by gRPC code.
	Calls   map[string]uint64 `json:"calls"`
	Running int               `json:"running"` // own calls under way

	// OldestStale is since when the value that is stale for the longest is;
	// zero when none is.
	OldestStale time.Time `json:"oldest_stale,omitzero"`

	// Rejected counts the processes that this client, leading or owning the
	// port, has turned away, by reason: such as "IDENTITY_MISMATCH".
	Rejected map[string]uint64 `json:"rejected"`

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
		Status: st, Calls: own.Calls, Running: own.Running, OldestStale: own.OldestStale,
		Rejected: c.rejected.counts(),
	}
	c.status.addHistory(&s)
	if l != nil {
		leading := l.Stats()
		s.Leading = &leading
	}
	return s
}

// codeName returns the code without the prefix that all have.
func codeName(code clusterclientv1.Code) string {
	return strings.TrimPrefix(code.String(), "CODE_")
}

// maxCodes is more than there are codes for turning somebody away.
const maxCodes = 16

// rejections counts, by code, who was turned away.
type rejections [maxCodes]atomic.Uint64

func (r *rejections) count(code clusterclientv1.Code) {
	if int(code) < len(r) {
		r[code].Add(1)
	}
}

func (r *rejections) counts() map[string]uint64 {
	all := make(map[string]uint64)
	for code := range r {
		if n := r[code].Load(); n > 0 {
			all[codeName(clusterclientv1.Code(code))] = n
		}
	}
	return all
}
