package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A snapshot is all there is to show.
type snapshot struct {
	Now      time.Time `json:"now"`
	Key      string    `json:"key"`
	Endpoint string    `json:"endpoint"` // of etcd, for the workers
	Port     int       `json:"port"`     // of the cluster
	Etcd     figures   `json:"etcd"`
	Workers  []row     `json:"workers"`
	Events   []event   `json:"events"` // oldest first
}

// A row is one live worker.
type row struct {
	PID int `json:"pid"`
	state
}

func (s *supervisor) snapshot() snapshot {
	snap, _ := s.watch()
	return snap
}

// watch returns a snapshot, and a channel that is closed when it is outdated.
func (s *supervisor) watch() (snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := snapshot{
		Now: time.Now(), Key: key, Endpoint: s.etcd.endpoint, Port: s.port, Etcd: s.board.figures,
		Workers: []row{}, Events: slices.Clone(s.board.events),
	}
	for _, p := range s.workers {
		if !p.killed {
			snap.Workers = append(snap.Workers, row{PID: p.pid, state: p.state})
		}
	}
	return snap, s.changed
}

// await returns the first snapshot of which holds is true.
func (s *supervisor) await(ctx context.Context, holds func(snapshot) bool) (snapshot, error) {
	for {
		snap, changed := s.watch()
		if holds(snap) {
			return snap, nil
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return snap, context.Cause(s.ctx)
		case <-ctx.Done():
			return snap, fmt.Errorf("%w; %v", context.Cause(ctx), snap)
		}
	}
}

// leader returns the worker that leads, and the others.
func (s snapshot) leader() (leader row, followers []row) {
	for _, w := range s.Workers {
		if w.Role == "leader" {
			leader = w
		} else {
			followers = append(followers, w)
		}
	}
	return leader, followers
}

// String is for messages.
func (s snapshot) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcd counts %v", s.Etcd)
	for _, w := range s.Workers {
		fmt.Fprintf(&b, "; %s", w)
	}
	return b.String()
}

func (f figures) String() string {
	if !f.Known {
		return count(f.Connections, "connection") + ", watchers unknown"
	}
	return fmt.Sprintf("%s, %s", count(f.Connections, "connection"), count(f.Watchers, "watcher"))
}

func (w row) String() string {
	text := fmt.Sprintf("%d %s, term %d", w.PID, w.role(), w.Term)
	if w.Known {
		text += fmt.Sprintf(", %s = %s, revision %s, %s", key, w.value(), w.Revision, w.freshness())
	}
	return text
}

// role is what the worker is, or what it waits for.
func (s state) role() string {
	switch s.Role {
	case "":
		return "starting"
	case "none":
		return "waiting"
	}
	return s.Role
}

func (s state) value() string {
	switch {
	case !s.Known:
		return "-"
	case s.Deleted:
		return "(deleted)"
	}
	return fmt.Sprintf("%q", s.Value)
}

func (s state) freshness() string {
	switch {
	case !s.Known:
		return "-"
	case s.Stale:
		return "stale"
	}
	return "fresh"
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
