package leader

import (
	"time"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
	"github.com/hashicorp/go-hclog"
)

// Config is what a [Leader] needs to know.
type Config struct {
	Self    *clusterclientv1.Peer // the client that leads
	Term    uint64                // of this leadership
	Linger  time.Duration         // how long an unused key is watched
	Codec   codec.Codec           // for plain Go values
	Logger  hclog.Logger
	Seed    func(key string) (Seed, bool) // last known values; may be nil
	Save    func(key string, u Update)    // called with what the upstream reports; does not block; may be nil
	Records []*clusterclientv1.Record     // registrations known from before
	Limits  Limits
	Reread  time.Duration     // how often each key is read again, about; 0 for never
	Rate    int               // how many watches begin a second; 0 for no bound
	Alive   func(Peer) bool   // whether the peer's process lives; may be nil
	Lanes   bool              // connections of sessions can become theirs, see Leader.Lane
	Joined  func(Peer)        // called, in order, when a follower has come
	Left    func(Peer, error) // or gone, and why; either may be nil

	// Beat, if not nil, is called once a second, when the leader has looked at
	// all that its sessions need.
	Beat func()

	// MayAct, if not nil, returns why somebody else may be leading already. It
	// is asked before anything that others would notice.
	MayAct func() error

	// Warm, if not nil, is the upstream that New is given, watched already.
	Warm *Warm
}

// A Seed is the last known value of a key, from before this leadership.
type Seed struct {
	Update   Update
	Revision wire.Revision
	Since    time.Time
	Snapshot bool // it is from a file, and older than what any process remembers

	digest []byte // of the data; nil if nobody needs it
}

// methods returns those of up, which are asked for once.
func (c *Config) methods(up Upstream) (*Registry, error) {
	if c.Warm != nil {
		return c.Warm.methods, nil
	}
	return methodsOf(up)
}
