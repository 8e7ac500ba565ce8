package leader

import (
	"context"
	"encoding/hex"
	"time"

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

func peerFrom(p *clusterclientv1.Peer) Peer {
	return Peer{Instance: hex.EncodeToString(p.GetInstance()), PID: int(p.GetPid()), Since: time.Now()}
}
