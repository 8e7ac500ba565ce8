package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
)

// workerCommand is the first argument of a worker process.
const workerCommand = "worker"

// A console joins a worker to the supervisor.
type console struct {
	orders chan order

	mu   sync.Mutex // guards what follows
	out  *json.Encoder
	last state // reported
}

// workerMain is the main function of a worker process.
func workerMain(args []string) error {
	// Ctrl-C reaches every process in the terminal. Only the supervisor heeds
	// it, and ends the workers by closing their input.
	signal.Ignore(os.Interrupt)
	fs := flag.NewFlagSet(workerCommand, flag.ExitOnError)
	endpoint := fs.String("etcd", "", "`host:port` of etcd")
	port := fs.Int("port", 0, "port of the cluster")
	_ = fs.Parse(args) // exits when it fails

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	c := &console{orders: make(chan order), out: json.NewEncoder(os.Stdout)}
	go c.read(ctx, os.Stdin, cancel) // ends with the process
	err := work(ctx, *endpoint, *port, c)
	if err == nil || ctx.Err() != nil {
		return nil // as ordered
	}
	c.send(report{Error: err.Error()})
	return err
}

// read takes orders until there are no more, which ends the worker.
func (c *console) read(ctx context.Context, in io.Reader, end func()) {
	defer end()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o order
		if json.Unmarshal(lines.Bytes(), &o) != nil {
			return
		}
		select {
		case c.orders <- o:
		case <-ctx.Done():
			return
		}
	}
}

func (c *console) send(r report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(r) // fails when the supervisor is gone; read sees that, too
}

// received reports what the subscription yielded: a value, or the same one in
// another state.
func (c *console) received(v follower.Value) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.last
	next.Value, next.Known, next.Deleted, next.Version = string(v.Data), true, v.Deleted, v.Version
	if !v.Repeated {
		next.Seen = time.Now()
	}
	next.trust(v)
	c.reportLocked(next)
}

// changed reports the role.
func (c *console) changed(status clusterclient.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.last
	next.Role, next.Term, next.Waiting = status.Role.String(), status.Term, status.Waiting
	c.reportLocked(next)
}

func (c *console) reportLocked(next state) {
	if next != c.last {
		c.last = next
		_ = c.out.Encode(report{State: &next}) // as in send
	}
}

// trust notes what can change without there being another value: the next
// leader gives the same value a revision of its own term.
func (s *state) trust(v follower.Value) {
	s.Revision, s.Stale, s.Since, s.Reason = v.Revision.String(), v.Stale, v.Since, ""
	if v.Reason != nil {
		s.Reason = v.Reason.Error()
	}
}

// attach reports the role of client, and carries orders out, until the function
// that it returns is called.
func (c *console) attach(ctx context.Context, client *clusterclient.Client) (detach func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for status := range client.StatusChanges(ctx) {
			c.changed(status)
		}
	})
	wg.Go(func() {
		for {
			select {
			case o := <-c.orders:
				c.send(report{Answer: obey(ctx, client, o)})
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}
