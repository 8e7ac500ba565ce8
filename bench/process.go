package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// Bounds of what a child may take.
const (
	orderTimeout = time.Minute
	leaveTimeout = 8 * time.Second
)

// A process is a child of this one. Its methods are for one goroutine at a
// time, but for kill.
type process struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan answer // closed when the child says nothing more
	done    chan struct{}
}

func specOf(role string, args any) (string, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(spec{Role: role, Args: raw})
	return string(text), err
}

func startProcess(name string, cmd *exec.Cmd) (*process, error) {
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, in: in, answers: make(chan answer, 1), done: make(chan struct{})}
	go p.listen(out)
	return p, nil
}

// listen reads what the child says until it ends, and waits for it.
func (p *process) listen(out io.Reader) {
	defer close(p.done)
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var a answer
		if err := json.Unmarshal(line, &a); err != nil {
			a = answer{Err: fmt.Sprintf("said %.100q", line)}
		}
		p.answers <- a
	}
	close(p.answers)
	_ = p.cmd.Wait() // a child that was killed is no error; one that fails says why
}

// do gives an order and decodes its result, unless that is nil.
func (p *process) do(ctx context.Context, op string, args, result any) error {
	raw, err := json.Marshal(args)
	if err != nil {
		return err
	}
	line, err := json.Marshal(order{Op: op, Args: raw})
	if err != nil {
		return err
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %s: %w", p.name, op, err)
	}
	if err := p.read(ctx, result); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}

// read waits for one answer.
func (p *process) read(ctx context.Context, result any) error {
	late := time.NewTimer(orderTimeout)
	defer late.Stop()
	select {
	case a, ok := <-p.answers:
		switch {
		case !ok:
			return fmt.Errorf("%s: the process ended", p.name)
		case a.Err != "":
			return fmt.Errorf("%s: %s", p.name, a.Err)
		case result == nil:
			return nil
		}
		return json.Unmarshal(a.Result, result)
	case <-late.C:
		return fmt.Errorf("%s: no answer for %v", p.name, orderTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// kill ends the child at once, as kill -9 does.
func (p *process) kill() error { return p.cmd.Process.Kill() }

// stop lets the child leave, and kills it when it does not.
func (p *process) stop() error {
	_ = p.in.Close()
	go func() {
		for range p.answers {
			continue // an answer that came too late for anybody to want it
		}
	}()
	select {
	case <-p.done:
		return nil
	case <-time.After(leaveTimeout):
	}
	err := p.kill()
	<-p.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
