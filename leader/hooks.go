package leader

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/clusterclient/clusterclient/internal/patience"
)

// tellLocked has a hook of the program called, after those before it and by a
// goroutine that holds nothing. What happens at the end of a leadership is not
// told.
func (l *Leader) tellLocked(hook func()) {
	if l.closed {
		return
	}
	l.hooks = append(l.hooks, hook)
	if !l.calling {
		l.calling = true
		l.work.Go(l.callHooks)
	}
}

func (l *Leader) callHooks() {
	for {
		l.mu.Lock()
		if l.closed || len(l.hooks) == 0 {
			l.hooks, l.calling = nil, false
			l.mu.Unlock()
			return
		}
		hook := l.hooks[0]
		l.hooks = l.hooks[1:]
		l.mu.Unlock()
		l.callHook(hook)
	}
}

func (l *Leader) callHook(hook func()) {
	err := patience.Run("the hook for followers", func() error { hook(); return nil })
	if f, ok := errors.AsType[*patience.Fault](err); ok {
		l.log.Error("hook for followers went wrong", "error", f, "stack", string(f.Stack))
	}
}

// Why a follower has gone that did not take its leave.
var (
	// ErrLost means that its connection was lost: its process was killed, has
	// crashed, or took nothing for 30 s.
	ErrLost = errors.New("the connection was lost")

	// ErrBroken means that the leader has cut it off, since what it said made
	// no sense.
	ErrBroken = errors.New("cut off, since what it said made no sense")
)

// why says why the session has ended, in which err was the last thing received;
// nil when the follower took its leave.
func (s *session) why(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if cause := context.Cause(s.ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, ErrBroken) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}
