package leader

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A call is one request of a follower that runs user code. It is the context
// of that code, too, which may keep it for as long as it likes: no call is used
// again. There are hundreds of thousands of them a second, so they are small.
// What costs time or memory, such as the timer of the deadline and the channel
// of Done, is made when it is asked for: most handlers are over before they ask
// their context anything.
type call struct {
	s        *session
	in       *wire.Call         // the Receiver's when the call runs where it was received; that takes it back when the handler has returned
	deadline int64              // of the handler
	method   *method            // nil unless it invokes one
	direct   func(*wire.Reply)  // takes the reply within the process; may be nil
	turn     *turn              // of an operation on a registration; may be nil
	end      context.CancelFunc // of a stream, which has a context of its own
	ticket   bool               // it is a stream that has been admitted and has not come yet
	code     codes.Code         // of the answer, or of the end of a oneway call

	mu    sync.Mutex // guards what follows
	cut   bool       // off, by the end of the leadership
	err   error      // why the context has ended
	asked *asked     // nil until there is something in it
}

// asked is what a handler has asked its context for.
type asked struct {
	metadata []*clusterclientv1.Metadata // of the request
	done     chan struct{}
	timer    *time.Timer
	after    map[*func()]struct{} // to be called when the context ends
	values   context.Context      // of gRPC
	outgoing *transportStream
}

var _ context.Context = (*call)(nil)

// newCall returns the call that in, of which it has a copy, asks for.
func newCall(s *session, in *wire.Call) *call {
	both := &struct {
		call call
		in   wire.Call
	}{in: *in}
	both.call.begin(s, &both.in)
	return &both.call
}

// begin makes an empty call the one that in asks for.
func (c *call) begin(s *session, in *wire.Call) {
	c.s, c.in = s, in
	if !in.Oneway { // its handler may take longer than its caller waits
		c.deadline = in.Deadline
	}
	if len(in.Metadata) > 0 {
		c.asked = &asked{metadata: in.Metadata}
	}
}

// name returns what the call calls, also when it is over.
func (c *call) name() string {
	if c.method != nil {
		return c.method.name
	}
	return c.in.Method
}

func (c *call) askedLocked() *asked {
	if c.asked == nil {
		c.asked = new(asked)
	}
	return c.asked
}

// loose reports whether the call goes on, or ends, without its session.
func (c *call) loose() bool { return c.end != nil || c.in.Oneway }

// Deadline returns the caller's deadline.
func (c *call) Deadline() (time.Time, bool) {
	if c.deadline == 0 {
		return time.Time{}, false
	}
	return time.Unix(0, c.deadline), true
}

// expired reports whether the deadline was before now.
func (c *call) expired(now time.Time) bool {
	return c.deadline != 0 && now.UnixNano() >= c.deadline
}

// late returns why the call must not be started any more.
func (c *call) late() error {
	if c.in.Oneway && c.in.Deadline != 0 && time.Now().UnixNano() >= c.in.Deadline {
		return context.DeadlineExceeded
	}
	return c.Err()
}

// Done returns a channel that is closed when the call was cancelled, has
// expired or has returned.
func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.askedLocked()
	if a.done == nil {
		a.done = make(chan struct{})
		if c.err != nil {
			close(a.done)
		}
		c.watchDeadlineLocked()
	}
	return a.done
}

// Err returns nil until the context has ended.
func (c *call) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && c.deadline != 0 && c.expired(time.Now()) {
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
	a := c.askedLocked()
	if a.after == nil {
		a.after = make(map[*func()]struct{})
	}
	a.after[&f] = struct{}{}
	c.watchDeadlineLocked()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, waiting := a.after[&f]
		delete(a.after, &f)
		return waiting
	}
}

func (c *call) watchDeadlineLocked() {
	if deadline, ok := c.Deadline(); ok && c.asked.timer == nil && c.err == nil {
		c.asked.timer = time.AfterFunc(time.Until(deadline), func() { c.endWith(context.DeadlineExceeded) })
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
	if a := c.asked; a != nil && a.outgoing != nil {
		r.Header, r.Trailer = a.outgoing.sent()
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
	if c.asked != nil {
		c.asked.end()
	}
}

// end tells whoever waits for the end of the context.
func (a *asked) end() {
	if a.done != nil {
		close(a.done)
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	for f := range a.after {
		go (*f)()
	}
	a.after = nil
}

// Value returns the caller, or what gRPC's functions for handlers look for.
func (c *call) Value(key any) any {
	if _, ok := key.(peerKey); ok {
		return c.s.peer
	}
	c.mu.Lock()
	a := c.askedLocked()
	if a.values == nil {
		a.outgoing = &transportStream{method: c.name()}
		values := metadata.NewIncomingContext(context.Background(), wire.MetadataFrom(a.metadata))
		a.values = grpc.NewContextWithServerTransportStream(values, a.outgoing)
	}
	values := a.values
	c.mu.Unlock()
	return values.Value(key)
}
