package leader

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// Limit says that at most n calls of a method run at once. One more is refused
// at once with ResourceExhausted, so that a slow upstream makes callers fail
// early instead of piling them up. Calls that share a run, see [Coalesce],
// count as one. No n below 1 is a limit.
func Limit(n int) MethodOption {
	return func(m *method) { m.limit.most = max(n, 0) }
}

// Coalesce says that identical calls of a method, those with the same argument
// in the same codec, share one run of its handler while that lasts, whichever
// processes they come from. The handler sees the metadata and the caller of
// the first. Its context ends when nobody waits any more: a caller that gives
// up takes nothing from the others. It is for methods that read. Oneway calls
// run by themselves.
func Coalesce() MethodOption {
	return func(m *method) { m.share() }
}

// CacheFor is [Coalesce], and the result is kept for d and answers identical
// calls meanwhile. Errors are not kept. At most 1024 results of a method, and
// 64 MiB of them, are; the oldest make room.
func CacheFor(d time.Duration) MethodOption {
	return func(m *method) { m.share().results.keep = d }
}

// share returns what lets the calls of m share runs.
func (m *method) share() *sharing {
	if m.shared == nil {
		m.shared = newSharing()
	}
	return m.shared
}

// alone reports whether a call of m may run without regard to others.
func (m *method) alone() bool { return m.shared == nil && m.limit.most == 0 }

// A limit counts runs of a handler, up to a number; none if that is 0.
type limit struct {
	most int
	now  atomic.Int64
}

func (l *limit) enter() bool {
	if l.most == 0 || l.now.Add(1) <= int64(l.most) {
		return true
	}
	l.now.Add(-1)
	return false
}

func (l *limit) leave() {
	if l.most > 0 {
		l.now.Add(-1)
	}
}

// overLimit returns what answers a call that the limit of its method refuses.
func (c *call) overLimit() *wire.Reply {
	c.s.l.refused.Add(1)
	return replyError(status.Errorf(codes.ResourceExhausted, "%q runs %d times already, which is its limit", c.in.Method, c.method.limit.most))
}
