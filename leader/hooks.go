package leader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
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
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("hook for followers panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	hook()
}

// why says why the session has ended; nil when the follower took its leave.
func (s *session) why() error {
	err := context.Cause(s.ctx)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("session ended: %w", err)
}
