// Package follower has what every process of a cluster holds, whether it leads
// or follows: its subscriptions, the newest values, its registrations and its
// calls under way. What is behind a [Follower] changes with each takeover; the
// Follower stays, and so does all that its process asked of it.
//
// Programs get a Follower as part of a clusterclient.Client.
package follower

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/repeats"
	"github.com/clusterclient/clusterclient/internal/wire"
)

// Config is what a [Follower] needs to know.
type Config struct {
	Name        string        // of the cluster, for errors
	Codec       codec.Codec   // for plain Go values
	CallTimeout time.Duration // of calls without a deadline
	StaleAfter  time.Duration // silence of a leader that makes values stale
	Logger      hclog.Logger

	// Probe tells the leader whether this process could reach the upstream;
	// nil in one that is not asked.
	Probe func(context.Context) error
}

// A Follower subscribes, invokes, publishes and registers through whichever
// process leads. Its methods are safe for concurrent use. After Close of the
// Client that it belongs to they fail with ErrClosed.
type Follower struct {
	cfg   Config
	done  chan struct{}    // closed by Driver.Close
	wg    sync.WaitGroup   // replays of registrations
	plain subscribeOptions // of subscriptions without any

	state atomic.Pointer[linkState] // never nil; changed with mu held
	ids   atomic.Uint64             // of requests and registrations
	crowd atomic.Uint32             // sessions that the newest leader had when it was heard last
	ends  callEnds

	resyncs atomic.Uint64
	repeats repeats.Repeats

	attempts sync.Pool // of *attempt; not of the package, since timers belong to a test's bubble

	mu      sync.Mutex // guards what follows; taken before a key's mutex
	closed  bool
	keys    map[string]*key
	roster  roster
	changed chan struct{} // closed and replaced when the link changes
	regs    map[uint64]*Registration
	records map[recordID]known

	lingering map[*link]struct{}  // that have ended, and whose connections are still open for streams
	unsettled map[uint64]struct{} // registrations that are being announced for the first time, or taken back
}

// linkState is the link, or why there is none, and since when.
type linkState struct {
	link   *link // nil between terms
	since  time.Time
	reason error // why the last link ended; ErrClosed when the client was closed
	before *link // whose leader handed over to the one that is next; nil without one
}

// stale returns why the value of key is stale while there is no link.
func (s *linkState) stale(key string) error {
	if errors.Is(s.reason, errs.ErrClosed) {
		return &errs.Error{Code: errs.Closed, Op: "hold", Key: key}
	}
	return &errs.Error{Code: errs.NoLeader, Op: "hold", Key: key, Cause: s.reason}
}

// New returns a Follower without a link, and the Driver that gives it one.
func New(cfg Config) (*Follower, *Driver) {
	f := &Follower{
		cfg:     cfg,
		done:    make(chan struct{}),
		changed: make(chan struct{}),
		keys:    make(map[string]*key),
		regs:    make(map[uint64]*Registration),
		records: make(map[recordID]known),

		lingering: make(map[*link]struct{}),
		unsettled: make(map[uint64]struct{}),
	}
	f.attempts.New = newAttempt
	f.state.Store(&linkState{since: time.Now()})
	return f, &Driver{f: f}
}

// fail returns an error of op on key.
func (f *Follower) fail(code errs.Code, op, key string, cause error) *errs.Error {
	return &errs.Error{Code: code, Op: op, Name: f.cfg.Name, Key: key, Cause: cause}
}

func (f *Follower) closedErr(op, key string) error { return f.fail(errs.Closed, op, key, nil) }

// ended returns the error of op for a context that has ended, waiting for on.
func (f *Follower) ended(ctx context.Context, op, key string, on error) error {
	e := errs.FromContext(ctx, op, key, on)
	e.Name = f.cfg.Name
	return e
}

// timedOut returns the error of op when its default deadline has come.
func (f *Follower) timedOut(op, key string, on error) error {
	e := errs.TimedOut(op, key, on)
	e.Name = f.cfg.Name
	return e
}

// noLeader says that, and why, there is no link now, or none that takes
// requests.
func (f *Follower) noLeader() error {
	st := f.state.Load()
	reason := st.reason
	if st.link != nil {
		if leaves := st.link.leaves.Load(); leaves != nil {
			reason = fmt.Errorf("the leader, %s, takes no calls: %s", st.link, *leaves)
		}
	}
	if errors.Is(reason, errs.ErrNoLeader) {
		return reason // it says so already
	}
	return &errs.Error{Code: errs.NoLeader, Op: "wait for a leader", Cause: reason}
}

// checkKey refuses what cannot be a key.
func (f *Follower) checkKey(op, key string) error {
	if err := wire.CheckKey(key); err != nil {
		return f.fail(errs.Invalid, op, abridged(key), err)
	}
	return nil
}

// checkValue refuses what cannot be a value. Nil is not one: it is what a
// forgotten assignment leaves, and the empty value has a form of its own.
func (f *Follower) checkValue(op, key string, data []byte) error {
	if data == nil {
		return f.fail(errs.Invalid, op, key, errors.New("the value is nil; the empty value is []byte{}"))
	}
	return f.checkSize(op, key, data)
}

// checkSize refuses data that is too large to travel.
func (f *Follower) checkSize(op, key string, data []byte) error {
	if len(data) > wire.MaxMessage {
		return f.fail(errs.TooLarge, op, key, sizeError(len(data)))
	}
	return nil
}

// await returns the link, other than not, that takes new requests, and waits
// for one if need be, until ctx ends or deadline has come.
func (f *Follower) await(ctx context.Context, deadline time.Time, q *request, not *link) (*link, error) {
	if err := ctx.Err(); err != nil {
		return nil, f.ended(ctx, q.op, q.key, nil)
	}
	if l := f.state.Load().link; l != nil && l != not && !l.leaving.Load() && !f.isClosed() {
		return l, nil
	}
	return f.awaitNext(ctx, deadline, q, not)
}

func (f *Follower) awaitNext(ctx context.Context, deadline time.Time, q *request, not *link) (*link, error) {
	late := time.NewTimer(time.Until(deadline))
	defer late.Stop()
	for {
		f.mu.Lock()
		changed, closed := f.changed, f.closed
		l := f.state.Load().link
		f.mu.Unlock()
		switch {
		case closed:
			return nil, f.closedErr(q.op, q.key)
		case l != nil && l != not && !l.leaving.Load():
			return l, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, f.ended(ctx, q.op, q.key, f.noLeader())
		case <-late.C:
			return nil, f.timedOut(q.op, q.key, f.noLeader())
		}
	}
}

func (f *Follower) isClosed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// deadline returns ctx's, or that of a call which begins now.
func (f *Follower) deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(f.cfg.CallTimeout)
}

// withTimeout gives ctx the default deadline of calls unless it has one.
func (f *Follower) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, f.cfg.CallTimeout)
}
