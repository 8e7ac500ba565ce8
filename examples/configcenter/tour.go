package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// patience is how long a step of the tour, or an order, may take. Steps take
// milliseconds; a machine that is busy with something else may need more.
const patience = 10 * time.Second

// A tour plays the story and says of each step whether it holds. Steps wait
// for what the workers report, never for time to pass.
type tour struct {
	s       *supervisor
	out     io.Writer
	workers int      // that are alive
	values  []string // written so far, newest first
}

// playTour fails with the first step that does not hold. It closes s.
func playTour(s *supervisor, workers int, out io.Writer) error {
	began := time.Now()
	t := &tour{s: s, workers: workers, out: out}
	t.print("etcd on %s, cluster on 127.0.0.1:%d\n", s.etcd.endpoint, s.port)
	steps := []func(context.Context) (string, error){
		t.join, t.oneConnection,
		t.set("one"),
		t.killLeader,
		t.set("two"),
		t.startAnother,
		t.unary, t.stream,
		t.oneConnection,
	}
	for _, step := range steps {
		if err := t.play(s.ctx, step); err != nil {
			return err
		}
	}
	if err := t.play(context.Background(), t.end); err != nil {
		return err
	}
	t.print("  tour %45s\n", time.Since(began).Round(time.Millisecond))
	return nil
}

// play runs one step and prints its line.
func (t *tour) play(ctx context.Context, step func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("this did not happen within %v", patience))
	defer cancel()
	start := time.Now()
	what, err := step(ctx)
	took := ms(time.Since(start))
	if err != nil {
		t.print("✗ %-64s %10s\n  %v\n", what, took, err)
		return fmt.Errorf("%s: %w", what, err)
	}
	t.print("✓ %-64s %10s\n", what, took)
	return nil
}

func (t *tour) print(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, format, args...) // the exit code tells, too
}

// join waits until all workers have a role and a value.
func (t *tour) join(ctx context.Context) (string, error) {
	snap, err := t.s.await(ctx, func(snap snapshot) bool { return t.settled(snap) && allKnown(snap) })
	leader, _ := snap.leader()
	if leader.Known {
		t.values = []string{leader.Value}
	}
	return fmt.Sprintf("%d workers join, %d leads in term %d", t.workers, leader.PID, leader.Term), err
}

// oneConnection is the point of it all, and it is etcd that says so.
func (t *tour) oneConnection(ctx context.Context) (string, error) {
	t.s.readFiguresNow(ctx) // the last ones may be from before the last step
	want := figures{Connections: 1, Watchers: 1, Known: true}
	snap, err := t.s.await(ctx, func(snap snapshot) bool { return snap.Etcd == want })
	return fmt.Sprintf("etcd counts %v for %s", snap.Etcd, count(len(snap.Workers), "worker")), err
}

// set returns a step that writes a value and waits until all have it.
func (t *tour) set(value string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		what := fmt.Sprintf("%s = %q in etcd, seen by %s", key, value, count(t.workers, "worker"))
		if err := t.s.set(ctx, value); err != nil {
			return what, err
		}
		t.values = slices.Insert(t.values, 0, value)
		_, err := t.s.await(ctx, t.allSee)
		return what, err
	}
}

// killLeader is kill -9: the leader can do nothing more, not even say goodbye.
func (t *tour) killLeader(ctx context.Context) (string, error) {
	before, _ := t.s.snapshot().leader()
	what := fmt.Sprintf("kill -9 %d, the leader", before.PID)
	if err := t.s.kill(before.PID); err != nil {
		return what, err
	}
	t.workers--
	snap, err := t.s.await(ctx, func(snap snapshot) bool {
		leader, _ := snap.leader()
		return leader.PID != before.PID && leader.Term > before.Term
	})
	if err != nil {
		return what, err
	}
	leader, _ := snap.leader()
	return fmt.Sprintf("%s: %d leads in term %d", what, leader.PID, leader.Term), nil
}

// startAnother takes the place of the killed one.
func (t *tour) startAnother(ctx context.Context) (string, error) {
	t.workers++
	what := fmt.Sprintf("start another, it joins and sees %q", t.values[0])
	if err := t.s.startWorker(); err != nil {
		return what, err
	}
	_, err := t.s.await(ctx, t.allSee)
	return what, err
}

// unary has a follower call a method that runs in the leader.
func (t *tour) unary(ctx context.Context) (string, error) {
	a, what, err := t.ask(ctx, countWrites)
	what += fmt.Sprintf(": written %s", count(int(a.Writes), "time"))
	if want := int64(len(t.values)); err == nil && a.Writes < want {
		err = fmt.Errorf("want at least %d", want)
	}
	return what, err
}

// stream has a follower read a stream that the leader sends.
func (t *tour) stream(ctx context.Context) (string, error) {
	a, what, err := t.ask(ctx, listValues)
	what += ": " + strings.Join(a.Values, ", ")
	if n := len(t.values); err == nil && (len(a.Values) < n || !slices.Equal(a.Values[:n], t.values)) {
		err = fmt.Errorf("got %q, want %q first", a.Values, t.values)
	}
	return what, err
}

// ask gives an order to a follower and checks that the leader did the work.
func (t *tour) ask(ctx context.Context, what string) (answer, string, error) {
	leader, followers := t.s.snapshot().leader()
	if len(followers) == 0 {
		return answer{}, what, errors.New("there is no follower")
	}
	from := followers[len(followers)-1].PID
	title := fmt.Sprintf("%d asks %d to %s", from, leader.PID, what)
	a, err := t.s.ask(ctx, from, what)
	if err == nil && a.PID != int64(leader.PID) {
		err = fmt.Errorf("answered by %d, want the leader, %d", a.PID, leader.PID)
	}
	return a, title, err
}

// end leaves no process and no file, and looks whether that is so.
func (t *tour) end(context.Context) (string, error) {
	what := fmt.Sprintf("%d workers leave, nothing stays behind", t.workers)
	if err := t.s.close(); err != nil {
		return what, err
	}
	if dir := t.s.etcd.dir; dir != "" {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return what, fmt.Errorf("%s is still there: %w", dir, err)
		}
	}
	if left := t.s.snapshot().Workers; len(left) > 0 {
		return what, fmt.Errorf("%d workers are still there", len(left))
	}
	return what, nil
}

// settled reports whether all workers are there, one of them leads, and the
// others follow it.
func (t *tour) settled(snap snapshot) bool {
	leader, followers := snap.leader()
	if leader.PID == 0 || len(followers) != t.workers-1 {
		return false
	}
	return !slices.ContainsFunc(followers, func(w row) bool { return w.Role != "follower" || w.Term != leader.Term })
}

func allKnown(snap snapshot) bool {
	return !slices.ContainsFunc(snap.Workers, func(w row) bool { return !w.Known })
}

// allSee reports whether all workers have the value that was written last,
// and know that it is the newest.
func (t *tour) allSee(snap snapshot) bool {
	return t.settled(snap) && !slices.ContainsFunc(snap.Workers, func(w row) bool {
		return !w.Known || w.Value != t.values[0] || w.Stale
	})
}
