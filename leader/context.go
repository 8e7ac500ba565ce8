package leader

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// A call is one request of a follower that runs user code. It is the context
// of that code, too. Most handlers are over before they ask their context
// anything, so what costs time, the timer of the deadline and the channel of
// Done, is made when it is asked for.
type call struct {
	s      *session
	in     wire.Call
	method *method            // nil unless it invokes one
	direct func(*wire.Reply)  // takes the reply within the process; may be nil
	turn   *turn              // of an operation on a registration; may be nil
	end    context.CancelFunc // of a stream, which has a context of its own
	ticket bool               // it is a stream that has been admitted and has not come yet
	code   codes.Code         // of the answer, or of the end of a oneway call

	mu       sync.Mutex // guards what follows
	err      error      // why the context has ended
	cut      bool       // off, by the end of the leadership
	done     chan struct{}
	timer    *time.Timer
	after    map[*func()]struct{} // to be called when the context ends
	values   context.Context      // of gRPC; nil until somebody asks
	outgoing *transportStream     // as is this
}

var _ context.Context = (*call)(nil)

// newCall returns the call that in asks for.
func newCall(s *session, in *wire.Call) *call { return &call{s: s, in: *in} }

// loose reports whether the call goes on, or ends, without its session.
func (c *call) loose() bool { return c.end != nil || c.in.Oneway }

// Deadline returns the caller's deadline.
func (c *call) Deadline() (time.Time, bool) {
	if c.in.Deadline == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, c.in.Deadline), true
}

// expired reports whether the deadline was before now.
func (c *call) expired(now time.Time) bool {
	return c.in.Deadline != 0 && now.UnixNano() >= c.in.Deadline
}

// Done returns a channel that is closed when the call was cancelled, has
// expired or has returned.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
		c.watchDeadlineLocked()
	}
	return c.done
}

// Err returns nil until the context has ended.
func (c *call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.in.Deadline != 0 && c.expired(time.Now()) {
		c.endLocked(context.DeadlineExceeded)
	}
	return c.err
}

// AfterFunc makes contexts that are derived from this one end with it without
// a goroutine each. Package context looks for it.
func (c *call) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.after == nil {
		c.after = make(map[*func()]struct{})
	}
	c.after[&f] = struct{}{}
	c.watchDeadlineLocked()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := c.after[&f]
		delete(c.after, &f)
		return waiting
	}
}

func (c *call) watchDeadlineLocked() {
	if deadline, ok := c.Deadline(); ok && c.timer == nil && c.err == nil {
		c.timer = time.AfterFunc(time.Until(deadline), func() { c.endWith(context.DeadlineExceeded) })
	}
}

// cancel ends the context because the caller, or the leadership, is gone.
func (c *call) cancel() {
	switch {
	case c.end != nil:
		c.end()
	case c.ticket:
		c.s.void(c.in.ID)
	default:
		c.endWith(context.Canceled)
	}
}

// cutOff ends the context because the leadership is over.
func (c *call) cutOff() {
	c.mu.Lock()
	c.cut = c.err == nil
	c.mu.Unlock()
	c.cancel()
}

// lost reports whether r says no more than that the leadership is over. Nobody
// is to get that for an answer: callers see the leader go, and then know that
// the outcome is unknown, or ask the next one.
func (c *call) lost(r *wire.Reply) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cut && codes.Code(r.Code) == codes.Canceled
}

// finish ends the context because the handler has returned, and adds the
// metadata that it has sent to r.
func (c *call) finish(r *wire.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(context.Canceled)
	if c.outgoing != nil {
		r.Header, r.Trailer = c.outgoing.sent()
	}
}

func (c *call) endWith(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

func (c *call) endLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	for f := range c.after {
		go (*f)()
	}
	c.after = nil
}

// Value returns the caller, or what gRPC's functions for handlers look for.
func (c *call) Value(key any) any {
	if _, ok := key.(peerKey); ok {
		return c.s.peer
	}
	c.mu.Lock()
	if c.values == nil {
		c.outgoing = &transportStream{method: c.in.Method}
		values := metadata.NewIncomingContext(context.Background(), wire.MetadataFrom(c.in.Metadata))
		c.values = grpc.NewContextWithServerTransportStream(values, c.outgoing)
	}
	values := c.values
	c.mu.Unlock()
	return values.Value(key)
}
