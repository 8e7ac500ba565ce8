package leader

import (
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// headLocked returns the value as it travels, but for its data: encoded once,
// sent to all.
func (k *key) headLocked() []byte {
	if k.head == nil {
		h := wire.Head{
			Key: k.name, Revision: k.rev, Version: k.update.Version, Deleted: k.update.Deleted, Freshness: k.freshnessLocked(),
			Content: k.content, Number: k.number,
		}
		k.head = h.Encode(len(k.update.Data))
	}
	return k.head
}

func (k *key) stateLocked() *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{
		Key: k.name, Revision: k.rev.ToProto(), Freshness: k.freshnessLocked(),
	}}}
}

func (k *key) freshnessLocked() *clusterclientv1.Freshness {
	return &clusterclientv1.Freshness{
		Stale: k.stale, Since: k.since.UnixNano(), Reason: k.reason, Pending: k.stale && !k.heard, Origin: k.origin, TooLarge: k.tooLarge,
	}
}

// printLocked returns what the key counts in the checksum of a follower that
// has been told of its present state.
func (k *key) printLocked() uint64 {
	switch {
	case k.print != 0:
	case k.stale || !k.has:
		k.print = k.hash.Bare()
	default:
		k.print = k.hash.Print(k.rev, k.content)
	}
	return k.print
}

func (k *key) markLocked() *clusterclientv1.Mark {
	if k.digest == nil {
		k.digest = wire.Digest(k.update.Data)
	}
	return &clusterclientv1.Mark{
		Revision: k.rev.ToProto(), Version: []byte(k.update.Version),
		Deleted: k.update.Deleted, Digest: k.digest,
	}
}
