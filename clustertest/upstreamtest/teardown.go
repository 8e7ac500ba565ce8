package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// checkTeardown opens, uses and closes instances one after the other. One
// goroutine that each leaves behind shows as many in the end; what the
// upstream itself does in this process does not add up like that.
func checkTeardown(e *env) error {
	const rounds = 10
	if err := e.round(); err != nil { // what is only started once is started now
		return err
	}
	before := settled()
	for range rounds {
		if err := e.round(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(promptly)
	for time.Now().Before(deadline) {
		if runtime.NumGoroutine() < before+rounds/2 {
			return nil
		}
		time.Sleep(quiet / 10)
	}
	return fmt.Errorf("%d goroutines after %d instances were opened and closed, want about the %d of before; the most frequent:\n%s",
		runtime.NumGoroutine(), rounds, before, frequent())
}

// settled returns the number of goroutines once it has stopped falling.
func settled() int {
	n := runtime.NumGoroutine()
	for {
		time.Sleep(quiet)
		now := runtime.NumGoroutine()
		if now >= n {
			return now
		}
		n = now
	}
}

// frequent describes the goroutines of which there are most.
func frequent() string {
	var b bytes.Buffer
	// Writing to memory does not fail.
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	stacks := strings.SplitN(b.String(), "\n\n", 4)
	return strings.Join(stacks[:min(3, len(stacks))], "\n\n")
}

// round uses all that an instance can do.
func (e *env) round() error {
	up, err := e.open()
	if err != nil {
		return err
	}
	var observers []*observer
	for _, key := range []string{"upstreamtest.round-1", "upstreamtest.round-2"} {
		observers = append(observers, e.watchWith(up, key))
	}
	if p, ok := up.(leader.Publisher); ok {
		err = e.publish(p, "upstreamtest.round-1", number(len(e.observers)))
	}
	if _, ok := up.(leader.Registrar); ok {
		r := registration("owner", 1, "upstreamtest.round-registration", number(1))
		err = errors.Join(err, e.register(up, r), e.deregister(up, r))
	}
	for _, o := range observers {
		err = errors.Join(err, o.newest(), o.end())
	}
	if e.ctx.Err() != nil {
		return context.Cause(e.ctx)
	}
	return errors.Join(err, e.close(up))
}
