package clusterclient

import (
	"errors"

	"github.com/clusterclient/clusterclient/internal/errs"
)

// An Error says what was tried, with which cluster and key or method, and why
// it came to nothing. Every error of this module is one or wraps one; use
// errors.Is with the sentinels below, or package status of gRPC, to branch.
type Error = errs.Error

// The sentinels that errors.Is finds in an [Error].
var (
	// ErrClosed: the client, or the subscription or registration, was closed.
	ErrClosed = errs.ErrClosed

	// ErrNoLeader: nobody leads now. It is found in the error of whatever
	// waited for a leader until its context ended, and in the Reason of
	// values that are stale for that.
	ErrNoLeader = errs.ErrNoLeader

	// ErrLeadershipTaken: the client may only lead, and another process does.
	ErrLeadershipTaken = errs.ErrLeadershipTaken

	// ErrIdentityMismatch: the name is led by a process with another identity
	// (see [WithIdentity]), whose data must not be shared.
	ErrIdentityMismatch = errs.ErrIdentityMismatch

	// ErrForeignListener: what listens on the port is no cluster of ours.
	ErrForeignListener = errs.ErrForeignListener

	// ErrOutcomeUnknown: the leader was lost while a call was under way, and
	// the call may or may not have taken effect.
	ErrOutcomeUnknown = errs.ErrOutcomeUnknown

	// ErrTooLarge: a value, argument or result is larger than 64 MiB.
	ErrTooLarge = errs.ErrTooLarge

	// ErrInvalid: an argument makes no sense, and nothing was started; or what
	// came back does not decode as what the caller asked for.
	ErrInvalid = errs.ErrInvalid

	// ErrNoCandidate: Resign found no process that could lead instead, or none
	// that did.
	ErrNoCandidate = errs.ErrNoCandidate

	// ErrStale: the value has been stale for longer than [follower.MaxStale]
	// allows.
	ErrStale = errs.ErrStale

	// ErrRejected: [follower.Validate] said no to a value. It is found in the
	// Reason of the value that stands in for it.
	ErrRejected = errs.ErrRejected

	// ErrPeerRefused: whoever holds the port is not believed, or does not let
	// this process in; the error says who, why, and what to do. See
	// [WithPeers] and [WithSecret].
	ErrPeerRefused = errs.ErrPeerRefused

	// ErrLimit: one of the leader's [Limits] is reached, or that of a method. The
	// error names it. A [Create] whose time is over fails with it if too many
	// others were connecting.
	ErrLimit = errs.ErrLimit

	// ErrDeleted: the key does not exist upstream. [Get] and [Watch] report a
	// deletion with it, since their values have no place for one.
	ErrDeleted = errors.New("clusterclient: key does not exist")
)

// FromLeader reports whether err is the leader's answer, given by a handler or
// the upstream, rather than a failure to get one.
func FromLeader(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == errs.Remote
}
