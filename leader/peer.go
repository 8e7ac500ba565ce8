package leader

import (
	"context"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

type peerKey struct{}

// CallerFrom returns the process that made the call whose handler was given
// ctx. It is false outside of handlers.
func CallerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

func withCaller(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// An Origin is what the system has told of a connection that a session comes
// over, beside the process, which Hello names.
type Origin struct {
	UID     int
	Started uint64

	// Conn tells connections apart. Streams belong to a session only if they
	// come over the same one.
	Conn any
}

func peerFrom(p *clusterclientv1.Peer, from Origin) Peer {
	return Peer{
		Instance: hex.EncodeToString(p.GetInstance()), PID: int(p.GetPid()), Started: from.Started, UID: from.UID, Since: time.Now(),
	}
}

// recorded returns p with what the system told, as records have it.
func recorded(p *clusterclientv1.Peer, from Origin) *clusterclientv1.Peer {
	c := proto.CloneOf(p)
	c.Started = from.Started
	return c
}
