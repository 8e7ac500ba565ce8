package processtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient"
)

// calls calls a method of a [lastingCentre] again and again, with pauses, and
// tells how each call went, until it is ended or the client is closed.
func (p *childProcess) calls(client *clusterclient.Client, c Command) {
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan struct{})
	p.keep(c.Tag, func() error {
		end()
		<-ended
		return nil
	})
	go func() {
		defer close(ended)
		for i := 0; ctx.Err() == nil; i++ {
			m := Mark{ID: fmt.Sprintf("%s %d %d %d", c.Method, os.Getpid(), c.ID, i)}
			if rand.IntN(4) == 0 { // so that some calls are under way when a leader dies
				m.Delay = time.Duration(rand.IntN(20)) * time.Millisecond
			}
			e := Event{Kind: "call", Tag: c.Tag, Name: c.Name, Data: m.ID, Began: time.Now().UnixNano()}
			err := client.Invoke(context.Background(), c.Method, m, &e.Result)
			e.fail(err)
			p.tell(e)
			if errors.Is(err, clusterclient.ErrClosed) {
				return
			}
			if c.Pause > 0 {
				wait(ctx, rand.N(2*c.Pause))
			}
		}
	}()
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// burn keeps every processor of this process busy.
func burn(d time.Duration) {
	var busy sync.WaitGroup
	end := time.Now().Add(d)
	for range runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for time.Now().Before(end) {
			}
		})
	}
	busy.Wait()
}

// closeWhenTerminated makes the process do on SIGTERM what a program does that
// is told to go: close its clients, and exit. It tells what is left open then,
// compared with now.
func (p *childProcess) closeWhenTerminated() error {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	before, err := opened()
	go func() {
		<-told
		p.creating.Lock() // for good: what is being created is closed, too
		p.mu.Lock()
		all := maps.Clone(p.clients)
		p.mu.Unlock()
		e := Event{Kind: "left"}
		for _, c := range all {
			e.fail(c.Close())
		}
		e.left(before)
		p.tell(e)
		os.Exit(0)
	}()
	return err
}

// leftPatience is how long what belongs to the test itself may take to end.
const leftPatience = 3 * time.Second

// left notes what is open beyond what was before.
func (e *Event) left(before Event) {
	for end := time.Now().Add(leftPatience); ; time.Sleep(10 * time.Millisecond) {
		now, err := opened()
		e.fail(err)
		e.Descriptors = max(0, now.Descriptors-before.Descriptors)
		e.Goroutines = max(0, now.Goroutines-before.Goroutines-1) // this one
		if e.Descriptors+e.Goroutines == 0 || time.Now().After(end) {
			break
		}
	}
	if e.Goroutines > 0 {
		stacks := make([]byte, 1<<20)
		_, _ = os.Stderr.Write(stacks[:runtime.Stack(stacks, true)])
	}
}

// opened says what the process has open now. The first listener of a process
// leaves what the runtime polls with, which is no leak.
func opened() (e Event, err error) {
	lis, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		return e, err
	}
	if err := lis.Close(); err != nil {
		return e, err
	}
	e.Goroutines = runtime.NumGoroutine()
	open, err := os.ReadDir("/proc/self/fd")
	e.Descriptors = len(open) // the directory's own is always among them
	return e, err
}
