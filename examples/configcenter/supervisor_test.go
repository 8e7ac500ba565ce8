package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
)

// newTestSupervisor runs a supervisor in this process; its workers are other
// ones.
func newTestSupervisor(t *testing.T, workers int) *supervisor {
	t.Helper()
	port, err := clusterPort(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	etcd, err := openEtcd(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	s := newSupervisor(t.Context(), etcd, port)
	t.Cleanup(func() { _ = s.close() })
	if err := s.startWorkers(workers); err != nil {
		t.Fatal(err)
	}
	return s
}

// until waits for a snapshot.
func until(t *testing.T, s *supervisor, what string, holds func(snapshot) bool) snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	snap, err := s.await(ctx, holds)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return snap
}

func checkNothingLeft(t *testing.T, s *supervisor) {
	t.Helper()
	if _, err := os.Stat(s.etcd.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat(%s) = %v, want that it does not exist", s.etcd.dir, err)
	}
	if left := s.snapshot().Workers; len(left) > 0 {
		t.Errorf("workers left = %v, want none", left)
	}
}

// A tour that fails, here since something panics, says so, and what was
// started ends all the same.
func TestPanicEndsTour(t *testing.T) {
	s := newTestSupervisor(t, 2)
	s.spawn(func(context.Context) error { panic("boom") })
	<-s.ctx.Done()
	err := playTour(s, 2, t.Output())
	if err == nil || !strings.Contains(err.Error(), "panic: boom") {
		t.Errorf("playTour() = %v, want an error with the panic", err)
	}
	if err := s.close(); err != nil {
		t.Errorf("close() = %v", err)
	}
	checkNothingLeft(t, s)
}

func TestWorkerKilledFromOutside(t *testing.T) {
	s := newTestSupervisor(t, 2)
	tr := tour{s: s, workers: 2}
	before, _ := until(t, s, "join", tr.settled).leader()
	p, err := os.FindProcess(before.PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	tr.workers = 1
	after, _ := until(t, s, "takeover", tr.settled).leader()
	if after.Term <= before.Term {
		t.Errorf("term after the takeover = %d, want more than %d", after.Term, before.Term)
	}
	if _, err := s.ask(t.Context(), before.PID, countWrites); err == nil {
		t.Error("ask of a worker that is gone succeeded")
	}
}
