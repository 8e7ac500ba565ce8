package leader

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// Limit says that at most n calls of a method run at once. One more is refused
// at once with clusterclient.ErrLimit, whose status is ResourceExhausted, so that
// a slow upstream makes callers fail early instead of piling them up. Calls that
// share a run, see [Coalesce], count as one, of the client that came first. No n
// below 1 is a limit.
//
// No client takes all of it: one may have three times as many calls running as
// are left. That is three quarters of n for one that is alone, three sevenths for
// each of two, and there is some left for whoever comes next. Of an n below 4 one
// client can have all. See [Share].
func Limit(n int) MethodOption {
	return func(m *method) { m.limit.most = max(n, 0) }
}

// Share says how many of the calls that [Limit] lets run at once may be one
// client's, whatever others do; one more is refused as one above the limit is.
// No n below 1 is a share.
func Share(n int) MethodOption {
	return func(m *method) { m.limit.share = max(n, 0) }
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

// shareFactor is how many times as much one session may have as is left of a
// limit. What is left for others shrinks with the number of sessions that flood,
// and is never nothing.
const shareFactor = 3

// A limit counts runs of a handler, up to a number; none if that is 0.
type limit struct {
	most  int
	share int // of one session; 0 if that depends on what is left

	mu  sync.Mutex // guards what follows
	now int
	of  map[*session]int
}

// enter lets one more run begin, unless there are too many, or too many of the
// session.
func (l *limit) enter(s *session) (full, tooMany bool) {
	if l.most == 0 {
		return false, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.of[s]
	if full = l.now >= l.most; full || own >= l.shareLocked() {
		return full, true
	}
	if l.of == nil {
		l.of = make(map[*session]int)
	}
	l.now++
	l.of[s] = own + 1
	return false, false
}

func (l *limit) shareLocked() int {
	if l.share > 0 {
		return l.share
	}
	return shareFactor * (l.most - l.now)
}

func (l *limit) leave(s *session) {
	if l.most == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now--
	if l.of[s]--; l.of[s] == 0 {
		delete(l.of, s)
	}
}

// enters counts a run of c's handler, or says why it must not begin.
func (c *call) enters() (refusal *wire.Reply) {
	full, tooMany := c.method.limit.enter(c.s)
	switch {
	case full:
		return c.s.overLimit("%q runs %d times already, which is its limit", c.in.Method, c.method.limit.most)
	case tooMany:
		return c.s.overLimit("%q runs for pid %d as often as one client may have it; its limit is %d", c.in.Method, c.s.peer.PID, c.method.limit.most)
	}
	return nil
}

func (c *call) leaves() { c.method.limit.leave(c.s) }

// overLimit returns what answers a request that a limit refuses.
func (s *session) overLimit(format string, args ...any) *wire.Reply {
	s.l.refused.Add(1)
	return &wire.Reply{Code: int32(codes.ResourceExhausted), Message: clean(fmt.Sprintf(format, args...)), OverLimit: true}
}
