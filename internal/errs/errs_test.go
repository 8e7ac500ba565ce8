package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/errs"
)

func TestErrorText(t *testing.T) {
	tests := []struct {
		err  errs.Error
		want string
	}{
		{errs.Error{Op: "create"}, "clusterclient: create"},
		{errs.Error{Op: "create", Name: "n"}, `clusterclient: create (cluster "n")`},
		{errs.Error{Op: "publish", Name: "n", Key: "k"}, `clusterclient: publish "k" (cluster "n")`},
		{errs.Error{Op: "publish", Key: "k", Code: errs.Closed}, `clusterclient: publish "k": closed`},
		{errs.Error{Op: "invoke", Key: "a\nb", Cause: io.EOF}, `clusterclient: invoke "a\nb": EOF`},
		{errs.Error{Op: "a", Code: errs.Invalid, Cause: &errs.Error{Op: "b", Cause: errs.ErrClosed}}, "clusterclient: a: invalid argument: b: closed"},
		{errs.Error{Op: "a", Cause: fmt.Errorf("b: %w", &errs.Error{Op: "c", Cause: fmt.Errorf("d: %w", errs.ErrClosed)})}, "clusterclient: a: b: c: d: closed"},
	}
	for _, test := range tests {
		require.EqualError(t, &test.err, test.want)
	}
}

func TestSentinelsAndCodes(t *testing.T) {
	tests := []struct {
		code     errs.Code
		sentinel error
		grpc     codes.Code
	}{
		{errs.Unspecified, nil, codes.Unknown},
		{errs.Closed, errs.ErrClosed, codes.Canceled},
		{errs.NoLeader, errs.ErrNoLeader, codes.Unavailable},
		{errs.LeadershipTaken, errs.ErrLeadershipTaken, codes.AlreadyExists},
		{errs.IdentityMismatch, errs.ErrIdentityMismatch, codes.FailedPrecondition},
		{errs.ForeignListener, errs.ErrForeignListener, codes.FailedPrecondition},
		{errs.OutcomeUnknown, errs.ErrOutcomeUnknown, codes.Unknown},
		{errs.TooLarge, errs.ErrTooLarge, codes.ResourceExhausted},
		{errs.Invalid, errs.ErrInvalid, codes.InvalidArgument},
		{errs.NoCandidate, errs.ErrNoCandidate, codes.FailedPrecondition},
		{errs.PeerRefused, errs.ErrPeerRefused, codes.PermissionDenied},
		{errs.Limit, errs.ErrLimit, codes.ResourceExhausted},
		{errs.Upstream, nil, codes.Unknown},
		{errs.Remote, nil, codes.Unknown},
		{errs.Canceled, nil, codes.Unknown},
	}
	for _, test := range tests {
		err := fmt.Errorf("wrapped: %w", &errs.Error{Code: test.code, Op: "op", Cause: io.EOF})
		require.ErrorIs(t, err, io.EOF, "code %d", test.code)
		require.Equal(t, test.grpc, status.Code(err), "code %d", test.code)
		for _, other := range tests {
			if other.sentinel != nil {
				require.Equal(t, other.code == test.code, errors.Is(err, other.sentinel), "errors.Is(error of code %d, %v)", test.code, other.sentinel)
			}
		}
	}
}

func TestFromContext(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	caused, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(io.EOF)
	tests := []struct {
		ctx  context.Context
		on   error
		want string
		code codes.Code
		is   []error
	}{
		{canceled, nil, "clusterclient: op: context canceled", codes.Canceled, []error{context.Canceled}},
		{late, nil, "clusterclient: op: context deadline exceeded", codes.DeadlineExceeded, []error{context.DeadlineExceeded}},
		{caused, nil, "clusterclient: op: context canceled: EOF", codes.Canceled, []error{context.Canceled, io.EOF}},
		{
			late, errs.ErrNoLeader, "clusterclient: op: context deadline exceeded while waiting: no leader",
			codes.DeadlineExceeded,
			[]error{context.DeadlineExceeded, errs.ErrNoLeader},
		},
	}
	for _, test := range tests {
		err := errs.FromContext(test.ctx, "op", "", test.on)
		require.EqualError(t, err, test.want)
		require.Equal(t, test.code, status.Code(err), test.want)
		for _, is := range test.is {
			require.ErrorIs(t, err, is)
		}
	}
	err := errs.TimedOut("op", "k", errs.ErrNoLeader)
	require.EqualError(t, err, `clusterclient: op "k": context deadline exceeded while waiting: no leader`)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// silent is an error with a nil status.
type silent struct{ error }

func (silent) GRPCStatus() *status.Status { return nil }

func TestToStatus(t *testing.T) {
	tests := []struct {
		err  error
		code codes.Code
		text string
	}{
		{io.EOF, codes.Unknown, "EOF"},
		{status.Error(codes.NotFound, "no pet"), codes.NotFound, "no pet"},
		{fmt.Errorf("load: %w", context.Canceled), codes.Canceled, "load: context canceled"},
		{fmt.Errorf("load: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "load: context deadline exceeded"},
		{silent{io.EOF}, codes.Unknown, "EOF"},
		{&errs.Error{Code: errs.TooLarge, Op: "op"}, codes.ResourceExhausted, "clusterclient: op: too large"},
		{&errs.Error{Code: errs.Remote, Op: "op", Cause: status.Error(codes.NotFound, "no pet")}, codes.NotFound, "no pet"},
	}
	for _, test := range tests {
		st := errs.ToStatus(test.err)
		require.Equal(t, test.code, st.Code(), "code of %v", test.err)
		require.Equal(t, test.text, st.Message(), "message of %v", test.err)
	}
}
