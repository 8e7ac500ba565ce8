package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// A check verifies one clause of the contract. It returns an error instead of
// failing a test, so that the suite's own tests can show that it finds faults.
type check struct {
	name string
	do   func(*env) error
}

// checks is the suite.
var checks = []check{
	{"FirstValue", checkFirstValue},
	{"Absent", checkAbsent},
	{"Changes", checkChanges},
	{"Burst", checkBurst},
	{"Deletion", checkDeletion},
	{"EmptyValue", checkEmptyValue},
	{"LargeValue", checkLargeValue},
	{"ManyKeys", checkManyKeys},
	{"WatchEnds", checkWatchEnds},
	{"WatchAgain", checkWatchAgain},
	{"VersionStays", checkVersionStays},
	{"CloseAtOnce", checkCloseAtOnce},
	{"Get", checkGet},
	{"Compaction", checkCompaction},
	{"Restart", checkRestart},
	{"RestartCompacted", checkRestartCompacted},
	{"WatchDuringOutage", checkWatchDuringOutage},
	{"EndDuringOutage", checkEndDuringOutage},
	{"Probe", checkProbe},
	{"Publish", checkPublish},
	{"PublishFails", checkPublishFails},
	{"Together", checkTogether},
	{"Register", checkRegister},
	{"RegisterFails", checkRegisterFails},
	{"RegisterApart", checkRegisterApart},
	{"RegisterMoves", checkRegisterMoves},
	{"DeregisterAbsent", checkDeregisterAbsent},
	{"RegistrationAdopted", checkAdopted},
	{"RegistrationInherited", checkInherited},
	{"RegistrationExpires", checkExpires},
	{"RegistrationOrphaned", checkOrphaned},
	{"Teardown", checkTeardown},
}

// skip is the error of a check that needs what is not there.
type skip string

func (s skip) Error() string { return string(s) }

// run opens an adapter, does the check, and closes the adapter.
func (c check) run(ctx context.Context, h Harness) error {
	e := &env{ctx: ctx, h: h, histories: map[string]*history{}}
	up, err := e.open()
	if err != nil {
		return err
	}
	e.up = up
	err = c.do(e)
	for _, o := range e.observers {
		err = errors.Join(err, o.end())
	}
	if cerr := e.close(up); cerr != nil {
		return errors.Join(err, cerr)
	}
	return err
}

// env is what a check works with.
type env struct {
	ctx context.Context
	h   Harness
	up  leader.Upstream

	observers []*observer // of the check's goroutine
	disturbed atomic.Bool // the check has given Watch a reason to fail

	mu        sync.Mutex
	histories map[string]*history // guarded by mu
}

// step returns a context for one step of a check.
func (e *env) step() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(e.ctx, patience, fmt.Errorf("took longer than %v", patience))
}

func (e *env) open() (leader.Upstream, error) {
	ctx, cancel := e.step()
	defer cancel()
	up, err := e.h.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("Open: %w", err)
	}
	return up, nil
}

// close closes up, which must neither fail nor hang.
func (e *env) close(up leader.Upstream) error {
	done := make(chan error, 1)
	go func() { done <- up.Close() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("Close = %w, want nil", err)
		}
		return nil
	case <-time.After(promptly):
		return fmt.Errorf("Close did not return within %v", promptly)
	}
}

func (e *env) history(key string) *history {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.histories[key] == nil {
		e.histories[key] = newHistory()
	}
	return e.histories[key]
}

// write notes s in key's history around the write itself.
func (e *env) write(key string, s state, do func(context.Context) error) error {
	ctx, cancel := e.step()
	defer cancel()
	h := e.history(key)
	h.begin(s)
	if err := do(ctx); err != nil {
		return err
	}
	h.acknowledge()
	return nil
}

func (e *env) set(key string, data []byte) error {
	return e.write(key, state{data: data}, func(ctx context.Context) error {
		if err := e.h.Set(ctx, key, data); err != nil {
			return fmt.Errorf("harness: Set(%q): %w", key, err)
		}
		return nil
	})
}

func (e *env) delete(key string) error {
	return e.write(key, state{deleted: true}, func(ctx context.Context) error {
		if err := e.h.Delete(ctx, key); err != nil {
			return fmt.Errorf("harness: Delete(%q): %w", key, err)
		}
		return nil
	})
}

// number is the data that checks write when it only has to be told apart.
func number(n int) []byte { return fmt.Appendf(nil, "value-%06d", n) }
