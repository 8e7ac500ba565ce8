// Package errs has the error type of all packages of this module. The root
// package exports it by alias.
package errs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Code is what kind of failure an [Error] is.
type Code int

// The codes. Each but Upstream and Canceled has a sentinel that errors.Is
// finds.
const (
	Unspecified Code = iota
	Closed
	NoLeader
	LeadershipTaken
	IdentityMismatch
	ForeignListener
	OutcomeUnknown
	TooLarge
	Invalid
	NoCandidate
	Stale
	Rejected
	PeerRefused
	Limit
	Upstream // the upstream, or a handler that stands for it, said no
	Remote   // the leader's answer to a call: Cause is a gRPC status
	Canceled // the caller's context ended
)

// The sentinels.
var (
	ErrClosed           = errors.New("clusterclient: closed")
	ErrNoLeader         = errors.New("clusterclient: no leader")
	ErrLeadershipTaken  = errors.New("clusterclient: another process leads")
	ErrIdentityMismatch = errors.New("clusterclient: same name, other identity")
	ErrForeignListener  = errors.New("clusterclient: port held by a stranger")
	ErrOutcomeUnknown   = errors.New("clusterclient: leader lost, outcome unknown")
	ErrTooLarge         = errors.New("clusterclient: too large")
	ErrInvalid          = errors.New("clusterclient: invalid argument")
	ErrNoCandidate      = errors.New("clusterclient: nobody else can lead")
	ErrPeerRefused      = errors.New("clusterclient: peer refused")
	ErrLimit            = errors.New("clusterclient: limit reached")
	ErrStale            = errors.New("clusterclient: value too stale")
	ErrRejected         = errors.New("clusterclient: value rejected by validation")
)

var sentinels = map[Code]error{
	Closed: ErrClosed, NoLeader: ErrNoLeader, LeadershipTaken: ErrLeadershipTaken,
	IdentityMismatch: ErrIdentityMismatch, ForeignListener: ErrForeignListener,
	OutcomeUnknown: ErrOutcomeUnknown, TooLarge: ErrTooLarge, Invalid: ErrInvalid,
	NoCandidate: ErrNoCandidate, Stale: ErrStale, Rejected: ErrRejected,
	PeerRefused: ErrPeerRefused, Limit: ErrLimit,
}

// An Error says what was tried, with which cluster and key or method, and why
// it came to nothing.
type Error struct {
	Code  Code   // kind of failure
	Op    string // what was tried: "create", "subscribe", "invoke" …
	Name  string // the cluster's name, when there is one
	Key   string // the key or method, when there is one
	Cause error  // why; its text is part of this error's
}

// prefix begins the text of every error.
const prefix = "clusterclient: "

// Error returns "clusterclient: op "key" (name): kind: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteString(e.Op)
	if e.Key != "" {
		b.WriteString(" " + strconv.Quote(e.Key))
	}
	if e.Name != "" {
		fmt.Fprintf(&b, " (cluster %q)", e.Name)
	}
	if s := sentinels[e.Code]; s != nil {
		b.WriteString(": " + within(s))
	}
	if e.Cause != nil {
		b.WriteString(": " + within(e.Cause))
	}
	return b.String()
}

// within returns the text of an error as part of that of another, which has said
// already whose it is.
func within(err error) string {
	text := strings.ReplaceAll(err.Error(), ": "+prefix, ": ")
	return strings.TrimPrefix(text, prefix)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is the sentinel of e's code.
func (e *Error) Is(target error) bool {
	s := sentinels[e.Code]
	return s != nil && s == target
}

// GoesOn reports whether a subscription whose Next fails with err goes on, and
// may have a value later.
func GoesOn(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Code == Stale || e.Code == Limit || e.Code == TooLarge)
}

// In returns err as an error of op on key, which keeps its own if key is empty.
// A caller is told what it did itself, not what that is made of. What is no
// Error stays as it is.
func In(op, key string, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // what wraps one says what was done by itself
	if !ok {
		return err
	}
	in := *e
	in.Op, in.Key = op, cmp.Or(key, e.Key)
	return &in
}

// FromContext returns an Error of op for a context that has ended. What the
// operation was waiting for, if known, is part of it.
func FromContext(ctx context.Context, op, key string, waiting error) *Error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, ctx.Err()) { // a cause of the caller's own
		cause = fmt.Errorf("%w: %w", ctx.Err(), cause)
	}
	return ended(cause, op, key, waiting)
}

// TimedOut is FromContext for a deadline without a context.
func TimedOut(op, key string, waiting error) *Error {
	return ended(context.DeadlineExceeded, op, key, waiting)
}

func ended(cause error, op, key string, waiting error) *Error {
	if waiting != nil {
		cause = &waited{end: cause, on: waiting}
	}
	return &Error{Code: Canceled, Op: op, Key: key, Cause: cause}
}

// waited is the end of a context and what was being waited for.
type waited struct{ end, on error }

func (w *waited) Error() string {
	return fmt.Sprintf("%v while waiting: %s", w.end, within(w.on))
}

func (w *waited) Unwrap() []error { return []error{w.end, w.on} }
