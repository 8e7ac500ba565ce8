package follower

import (
	"errors"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// held is the newest value of a key, with the freshness that the leader told,
// in as little memory as it takes: a process may have very many keys.
type held struct {
	data     []byte
	version  string
	revision Revision
	since    int64 // Unix nanoseconds
	reason   error
	origin   uint8
	deleted  bool
	stale    bool
	pending  bool // stale only because the upstream has not been heard yet
	lent     bool // revision came without a value
	readers  readers
}

// is reports whether w is equal for a subscriber, as [sameValue] does.
func (h *held) is(w *wire.Value) bool {
	if h.deleted && w.Deleted {
		return true
	}
	return h.deleted == w.Deleted && h.version == string(w.Version) && w.Equal(h.data)
}

// numbered reports whether a leader gave the revision to this value and no other.
func (h *held) numbered() bool { return !h.lent && h.revision.Term != 0 }

// isEmpty reports whether the upstream says that there is nothing.
func (h *held) isEmpty() bool { return h.deleted || len(h.data) == 0 }

func (h *held) setFreshness(f *clusterclientv1.Freshness, key string) {
	h.stale, h.since, h.reason = f.GetStale(), f.GetSince(), nil
	if h.stale {
		h.reason = reasonFrom(f, key)
	}
	h.origin, h.pending = uint8(f.GetOrigin()), f.GetPending()
	if h.origin == 0 { // an older build's
		h.origin = uint8(OriginLive)
	}
}

// valueOf returns what is held of key.
func (h *held) valueOf(key string) (v Value) {
	h.show(&v, key)
	return v
}

// show sets v to what is held of key.
func (h *held) show(v *Value, key string) {
	*v = Value{
		Key: key, Data: h.data, Revision: h.revision, Version: h.version, Deleted: h.deleted,
		Stale: h.stale, Since: time.Unix(0, h.since), Reason: h.reason, Origin: Origin(h.origin),
	}
	v.settleOrigin()
}

// reasonFrom returns why the leader says that there is no fresh value of key.
func reasonFrom(f *clusterclientv1.Freshness, key string) error {
	reason := errors.New(f.GetReason())
	if f.GetTooLarge() {
		return &errs.Error{Code: errs.TooLarge, Op: "watch", Key: key, Cause: reason}
	}
	return reason
}
