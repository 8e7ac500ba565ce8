package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// figuresEvery is how often etcd is asked for its figures.
const figuresEvery = 100 * time.Millisecond

// A supervisor starts the workers, hears what they report, and ends them.
type supervisor struct {
	etcd    *center
	port    int
	parent  context.Context // ended by a signal
	ctx     context.Context // ended by that, a failure, or close
	fail    context.CancelCauseFunc
	wg      sync.WaitGroup // the goroutines of spawn
	starter thread
	close   func() error // runs end, once

	mu      sync.Mutex // guards what follows
	workers []*process
	board   board
	changed chan struct{} // closed and replaced when any of these changes
}

func newSupervisor(ctx context.Context, etcd *center, port int) *supervisor {
	s := &supervisor{etcd: etcd, port: port, parent: ctx, starter: newThread(), changed: make(chan struct{})}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	s.close = sync.OnceValue(s.end)
	s.readFiguresNow(s.ctx)
	s.spawn(s.readFigures)
	return s
}

// spawn runs f in a goroutine that close waits for. If f fails or panics,
// everything ends, in good order.
func (s *supervisor) spawn(f func(context.Context) error) {
	s.wg.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				s.fail(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		if err := f(s.ctx); err != nil {
			s.fail(err)
		}
	})
}

// wait returns when a signal has come, or with what failed.
func (s *supervisor) wait() error {
	<-s.ctx.Done()
	if s.parent.Err() != nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// end ends the workers, then etcd, and removes its folder.
func (s *supervisor) end() error {
	s.fail(errors.New("closed"))
	s.wg.Wait()
	close(s.starter) // not before the workers have ended: it is their parent
	return s.etcd.close()
}

func (s *supervisor) startWorkers(n int) error {
	for range n {
		if err := s.startWorker(); err != nil {
			return err
		}
	}
	return nil
}

func (s *supervisor) startWorker() error {
	var p *process
	var err error
	s.starter.do(func() { p, err = startProcess(s.ctx, s.etcd.endpoint, s.port) })
	if err != nil {
		return err
	}
	s.update(func() {
		s.workers = append(s.workers, p)
		s.board.note("%d starts", p.pid)
	})
	s.spawn(func(context.Context) error {
		why := p.listen(func(r report) { s.heard(p, r) })
		return s.lost(p, why)
	})
	return nil
}

// kill ends a worker as kill -9 does. Only what was started here can be hit.
func (s *supervisor) kill(pid int) error {
	var err error
	s.update(func() {
		i := slices.IndexFunc(s.workers, func(p *process) bool { return p.pid == pid && !p.killed })
		if i < 0 {
			err = fmt.Errorf("no worker has pid %d", pid)
			return
		}
		p := s.workers[i]
		if err = p.cmd.Process.Kill(); err == nil {
			p.killed = true
			s.board.killed(p)
		}
	})
	return err
}

// ask has the worker with that pid carry out an order.
func (s *supervisor) ask(ctx context.Context, pid int, what string) (answer, error) {
	s.mu.Lock()
	i := slices.IndexFunc(s.workers, func(p *process) bool { return p.pid == pid })
	if i < 0 {
		s.mu.Unlock()
		return answer{}, fmt.Errorf("no worker has pid %d", pid)
	}
	p := s.workers[i]
	s.mu.Unlock()
	return p.ask(ctx, what)
}

// set writes the key's value to etcd, as an operator would, past the cluster.
func (s *supervisor) set(ctx context.Context, value string) error {
	start := time.Now()
	resp, err := s.etcd.client.Put(ctx, prefix+key, value)
	if err != nil {
		return err
	}
	s.update(func() {
		s.board.set(value, resp.Header.Revision, start)
		s.board.settle(s.workers)
	})
	return nil
}

// heard notes what a worker reports.
func (s *supervisor) heard(p *process, r report) {
	s.update(func() {
		if r.Error != "" {
			p.why = r.Error
		}
		if r.State != nil {
			before := p.state
			p.state = *r.State
			s.board.changed(p, before)
			s.board.settle(s.workers)
		}
	})
}

// lost notes that a worker has ended. It returns an error if the last one did
// so before it had begun, for then there is nothing to show.
func (s *supervisor) lost(p *process, why string) (err error) {
	s.update(func() {
		s.workers = slices.DeleteFunc(s.workers, func(other *process) bool { return other == p })
		if p.killed || s.ctx.Err() != nil {
			return
		}
		if p.why != "" {
			why = p.why
		}
		first, _, _ := strings.Cut(why, "\n") // of a panic, say
		s.board.lost(p, first)
		if len(s.workers) == 0 && p.state.Role == "" {
			err = fmt.Errorf("no worker can start: %s", why)
		}
	})
	return err
}

// readFigures follows what etcd says of its clients.
func (s *supervisor) readFigures(ctx context.Context) error {
	tick := time.NewTicker(figuresEvery)
	defer tick.Stop()
	for {
		s.readFiguresNow(ctx)
		select {
		case <-tick.C:
		case err := <-s.etcd.failed:
			return fmt.Errorf("etcd ended: %w", err)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *supervisor) readFiguresNow(ctx context.Context) {
	watchers, err := s.etcd.watchers(ctx)
	now := figures{Connections: s.etcd.connections(), Watchers: watchers, Known: err == nil}
	if s.snapshot().Etcd != now {
		s.update(func() { s.board.figures = now })
	}
}

func (s *supervisor) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}
