package follower

import (
	"bytes"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A Revision orders the values of one key: by Term, the number of the
// leadership that reported the value, and then by Seq, which counts within it.
// Compare two with [Revision.Compare]. The zero Revision is older than any.
type Revision = wire.Revision

// A Value is one value of one key, and how far it can be trusted.
type Value struct {
	// Key is what the value belongs to.
	Key string

	// Data is the value. It is shared with every other reader of the key in
	// this process and must not be modified. It may be kept, unless the
	// subscription has [ReuseData]. Empty when Deleted.
	Data []byte

	// Revision grows with every value that a subscription yields, across
	// takeovers too.
	Revision Revision

	// Version is the upstream's own mark of the value, opaque.
	Version string

	// Deleted is true when the key does not exist upstream.
	Deleted bool

	// Stale is true while the upstream does not vouch for the value: it is
	// the last known one then, for Reason.
	Stale bool

	// Since is when the present state, fresh or stale, began.
	Since time.Time

	// Reason is why the value is stale, nil when it is fresh. errors.Is finds
	// ErrNoLeader in it when the leader is gone, rather than its upstream,
	// ErrTooLarge when the upstream has a value that is larger than the leader
	// takes, 64 MiB by default, ErrRejected when [Validate] said no to a newer
	// one, and ErrClosed after the client was closed.
	Reason error

	// Origin is where the value comes from.
	Origin Origin

	// Repeated is true when the subscription has returned the same value
	// before, and only its state is news; see [WithStates] and [MaxStale].
	Repeated bool
}

// An Origin is where a value comes from.
type Origin int

const (
	// OriginLive is the upstream, which reports the value now. Values are
	// fresh when they are live, and when they are an override.
	OriginLive Origin = iota + 1

	// OriginMemory is what the leader, or this process, remembers: the
	// upstream reported the value earlier.
	OriginMemory

	// OriginSnapshot is a file written in an earlier life of the cluster; the
	// upstream has not been heard since.
	OriginSnapshot

	// OriginOverride is a file that the operator wrote, whatever the upstream
	// says.
	OriginOverride
)

// String returns "live", "memory", "snapshot" or "override".
func (o Origin) String() string {
	switch o {
	case OriginLive:
		return "live"
	case OriginMemory:
		return "memory"
	case OriginSnapshot:
		return "snapshot"
	case OriginOverride:
		return "override"
	}
	return fmt.Sprintf("Origin(%d)", int(o))
}

// MarshalText returns the origin's name, for JSON.
func (o Origin) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// sameValue reports whether two values are equal for a subscriber. Deletions
// are, whatever their version.
func sameValue(a, b *Value) bool {
	if a.Deleted && b.Deleted {
		return true
	}
	return a.Deleted == b.Deleted && a.Version == b.Version && bytes.Equal(a.Data, b.Data)
}

func (v *Value) mark() *clusterclientv1.Mark {
	return &clusterclientv1.Mark{
		Revision: v.Revision.ToProto(), Version: []byte(v.Version), Deleted: v.Deleted, Digest: wire.Digest(v.Data),
	}
}

func valueFrom(f *clusterclientv1.Value) Value {
	h := held{
		data: f.GetData(), revision: wire.RevisionFrom(f.GetRevision()),
		version: string(f.GetVersion()), deleted: f.GetDeleted(),
	}
	h.setFreshness(f.GetFreshness(), f.GetKey())
	return h.valueOf(f.GetKey())
}

// settleOrigin keeps a stale value from passing for a live one.
func (v *Value) settleOrigin() {
	if v.Stale && v.Origin == OriginLive {
		v.Origin = OriginMemory
	}
}

// setStale makes v stale since t, unless it was before.
func (v *Value) setStale(t time.Time) {
	if !v.Stale {
		v.Stale, v.Since = true, t
	}
	v.settleOrigin()
}

// sameState reports whether two values can be trusted alike.
func sameState(a, b *Value) bool {
	return a.Stale == b.Stale && a.Origin == b.Origin && a.Since.Equal(b.Since) && text(a.Reason) == text(b.Reason)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
