package follower

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// callEnds counts how calls have ended, by gRPC code.
type callEnds [codes.Unauthenticated + 1]atomic.Uint64

func (e *callEnds) count(err error) {
	code := codes.OK
	if err != nil {
		code = min(status.Code(err), codes.Unauthenticated)
	}
	e[code].Add(1)
}

func (e *callEnds) counts() map[string]uint64 {
	all := make(map[string]uint64)
	for code := range e {
		if n := e[code].Load(); n > 0 {
			all[codes.Code(code).String()] = n
		}
	}
	return all
}
