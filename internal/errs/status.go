package errs

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// This file is the one place where codes of this module meet codes of gRPC.

var grpcCodes = map[Code]codes.Code{
	Closed:           codes.Canceled,
	NoLeader:         codes.Unavailable,
	LeadershipTaken:  codes.AlreadyExists,
	IdentityMismatch: codes.FailedPrecondition,
	ForeignListener:  codes.FailedPrecondition,
	OutcomeUnknown:   codes.Unknown, // not Unavailable: generic retries repeat that one
	TooLarge:         codes.ResourceExhausted,
	Invalid:          codes.InvalidArgument,
	NoCandidate:      codes.FailedPrecondition,
	PeerRefused:      codes.PermissionDenied,
	Limit:            codes.ResourceExhausted,
}

// GRPCStatus makes e usable with package status. The answer of a handler
// keeps its code, message and details.
func (e *Error) GRPCStatus() *status.Status {
	if e.Code == Remote {
		if s, ok := status.FromError(e.Cause); ok {
			return s
		}
	}
	if e.Code == Canceled {
		switch {
		case errors.Is(e.Cause, context.DeadlineExceeded):
			return status.New(codes.DeadlineExceeded, e.Error())
		case errors.Is(e.Cause, context.Canceled):
			return status.New(codes.Canceled, e.Error())
		}
	}
	if c, ok := grpcCodes[e.Code]; ok {
		return status.New(c, e.Error())
	}
	return status.New(codes.Unknown, e.Error())
}

// ToStatus returns what a handler's error looks like to a caller in another
// process: a gRPC status as it is, the end of a context as the matching code,
// anything else as Unknown with the same text. It is never OK: an error is an
// error, whatever its status says.
func ToStatus(err error) *status.Status {
	if s, ok := status.FromError(err); ok {
		if s.Code() != codes.OK {
			return s
		}
		p := s.Proto() // a copy
		p.Code = int32(codes.Unknown)
		return status.FromProto(p)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, err.Error())
	}
	return status.New(codes.Unknown, err.Error())
}
