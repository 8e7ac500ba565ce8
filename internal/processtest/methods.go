package processtest

import (
	"context"
	"os"
	"strconv"

	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// ran tells the centre that this process runs the handler for call and
// returns how many have so far.
func (c *centreClient) ran(ctx context.Context, call string) (int, error) {
	m, err := c.request(ctx, centreMessage{Op: "ran", Key: call, Owner: strconv.Itoa(os.Getpid())})
	return m.Count, err
}

// Whoami is the result of the methods that the centre's client offers.
type Whoami struct {
	Handler int    // pid of the process that ran the handler
	Caller  int    // pid that the handler was told
	Call    string // the argument
	Count   int    // how many handlers have been started for the call

	Term uint64 `json:",omitempty"` // of the leadership, from "mark" and "ping"
}

// RegisterMethods offers "once", which answers; "block", which answers when its
// caller gives up; and "steady", idempotent, which blocks the first time that
// it is run for a call and answers the second time. "quick" answers without
// the centre. The service that streams is [echo].
func (c *centreClient) RegisterMethods(r *leader.Registry) {
	handler := func(block func(count int) bool) func(context.Context, string) (Whoami, error) {
		return func(ctx context.Context, call string) (Whoami, error) {
			n, err := c.ran(ctx, call)
			if err != nil {
				return Whoami{}, err
			}
			if block(n) {
				<-ctx.Done()
				return Whoami{}, ctx.Err()
			}
			caller, _ := leader.CallerFrom(ctx)
			return Whoami{Handler: os.Getpid(), Caller: caller.PID, Call: call, Count: n}, nil
		}
	}
	leader.Handle(r, "quick", func(ctx context.Context, call string) (Whoami, error) {
		caller, _ := leader.CallerFrom(ctx)
		return Whoami{Handler: os.Getpid(), Caller: caller.PID, Call: call}, nil
	})
	leader.Handle(r, "once", handler(func(int) bool { return false }))
	leader.Handle(r, "block", handler(func(int) bool { return true }))
	testprotov1.RegisterEchoServiceServer(r, &echo{c: c})
	leader.Handle(r, "steady", handler(func(n int) bool { return n == 1 }), leader.Idempotent())
}
