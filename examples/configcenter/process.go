package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// farewell is how long a worker may take to end when it is told to.
const farewell = 3 * time.Second

// A process is one worker, seen from the supervisor.
type process struct {
	pid    int
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout io.Reader
	stderr *bytes.Buffer
	ended  chan struct{} // closed when it is gone

	asking sync.Mutex // one order at a time
	orders *json.Encoder
	nextID int
	answer chan answer

	// Guarded by the supervisor's mu.
	state  state
	killed bool
	why    string // it ended, as it said
}

// startProcess executes this program again, as a worker. When ctx ends the
// worker's input is closed, which tells it to leave; if it does not, it is
// killed.
func startProcess(ctx context.Context, endpoint string, port int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, workerCommand, "-etcd", endpoint, "-port", strconv.Itoa(port))
	p := &process{cmd: cmd, stderr: new(bytes.Buffer), ended: make(chan struct{}), answer: make(chan answer, 1)}
	cmd.Stderr = p.stderr
	stdin, inErr := cmd.StdinPipe()
	stdout, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr); err != nil {
		return nil, err
	}
	p.stdin, p.stdout, p.orders = stdin, stdout, json.NewEncoder(stdin)
	cmd.Cancel = stdin.Close
	cmd.WaitDelay = farewell
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// listen passes what the worker reports to heard until it ends, and returns
// why it did.
func (p *process) listen(heard func(report)) string {
	defer close(p.ended)
	for in := json.NewDecoder(p.stdout); ; {
		var r report
		if in.Decode(&r) != nil {
			break
		}
		if r.Answer != nil {
			p.answer <- *r.Answer
			continue
		}
		heard(r)
	}
	err := p.cmd.Wait()
	switch said := strings.TrimSpace(p.stderr.String()); {
	case said != "":
		return said
	case err != nil:
		return err.Error()
	}
	return "it was told to leave"
}

// ask has the worker carry out an order.
func (p *process) ask(ctx context.Context, what string) (answer, error) {
	p.asking.Lock()
	defer p.asking.Unlock()
	p.nextID++
	if err := p.orders.Encode(order{ID: p.nextID, Do: what}); err != nil {
		return answer{}, err
	}
	for {
		select {
		case a := <-p.answer:
			if a.ID != p.nextID {
				continue // of an order that nobody waited for
			}
			if a.Error != "" {
				return a, errors.New(a.Error)
			}
			return a, nil
		case <-p.ended:
			return answer{}, fmt.Errorf("worker %d ended", p.pid)
		case <-ctx.Done():
			return answer{}, context.Cause(ctx)
		}
	}
}

// A thread runs functions on one thread of the operating system, until it is
// closed. Linux can end a child together with its parent, but what it means by
// the parent is the thread that started the child; the Go scheduler may end
// any thread but one that is locked.
type thread chan func()

func newThread() thread {
	t := make(thread)
	go func() {
		runtime.LockOSThread()
		for f := range t {
			f()
		}
	}()
	return t
}

// do returns when f has run.
func (t thread) do(f func()) {
	done := make(chan struct{})
	t <- func() {
		defer close(done)
		f()
	}
	<-done
}
