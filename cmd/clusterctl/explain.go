package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

func (a *app) explain(ctx context.Context, args []string) error {
	p, err := a.place(ctx)
	if err != nil {
		return err
	}
	e, err := clusterclient.Explain(ctx, p.Name.Name, p.port, args[0], a.options()...)
	if err != nil && p.hangs() {
		err = fmt.Errorf("%w; clusterctl doctor says what to do", p.silence())
	}
	if err != nil {
		return &exitError{exitNobody, err}
	}
	if a.json {
		if err := a.document(e); err != nil {
			return err
		}
	} else {
		a.chain(e)
	}
	return explained(e)
}

// explained turns what was explained into an exit code.
func explained(e inspect.Explanation) error {
	switch {
	case e.Trouble != "":
		return &exitError{exitNobody, errors.New(e.Trouble)}
	case e.Watch.State == inspect.Unwatched, e.Value.State == inspect.Unknown:
		return &exitError{code: exitMissing}
	case e.Value.State == inspect.Stale:
		return &exitError{code: exitUnwell}
	}
	for _, s := range e.Subscribers {
		if s.Holding == nil || s.Holding.Key == nil || s.Holding.Key.State != inspect.Fresh {
			return &exitError{code: exitUnwell}
		}
	}
	return nil
}

// chain prints the way from the upstream down.
func (a *app) chain(e inspect.Explanation) {
	now := e.At
	a.print("%s of %s\n", a.style.set(printable(e.Key), bold), e.Name)
	if e.Trouble != "" {
		return
	}
	a.print("upstream  %s%s\n", a.styled(watchCell(e.Watch)), because(e.Watch.Trouble))
	if since := e.Watch.BlindSince; !since.IsZero() {
		a.print("          %s\n", a.style.set("the leader has not reached it for "+age(since, now), bad))
	}
	if e.Watch.State == inspect.Unwatched {
		a.print("          nobody on this host subscribes to the key\n")
		return
	}
	a.print("   │\n")
	a.print("leader    %s, term %d\n", peer(e.Leader), e.Term)
	a.print("          %s\n", a.value(e.Value, now))
	for _, g := range e.Groups {
		a.print("          queue group %q: %d members, %d queued, %d held, %d dropped\n", g.Group, g.Members, g.Queued, g.Held, g.Dropped)
	}
	for i, s := range e.Subscribers {
		knee, line := "├─", "│ "
		if i == len(e.Subscribers)-1 {
			knee, line = "└─", "  "
		}
		a.subscriber(s, now, knee, line)
	}
}

func (a *app) subscriber(s inspect.Subscriber, now time.Time, knee, line string) {
	own := ""
	if s.Own {
		own = ", in the leader's process"
	}
	behind := "has been sent the newest"
	if s.Behind > 0 {
		behind = a.style.set(counted(s.Behind, "value", "values")+" behind", poor)
	}
	a.print("   %s     %s%s, %s\n", knee, peer(s.Peer), own, behind)
	switch {
	case s.Holding == nil:
		a.print("   %s     %s\n", line, a.style.set(s.Trouble, bad))
		return
	case s.Holding.Key == nil:
		a.print("   %s     has just dropped the key\n", line)
		return
	}
	a.print("   %s     %s\n", line, a.value(*s.Holding.Key, now))
	for _, sub := range s.Holding.OfKey {
		a.print("   %s     %s\n", line, a.style.set(subscription(sub), toneOf(sub)))
	}
}

func toneOf(s inspect.Subscription) tone {
	if s.Behind {
		return poor
	}
	return plain
}

func subscription(s inspect.Subscription) string {
	switch {
	case s.Group != "":
		return fmt.Sprintf("subscription in queue group %q, %d updates wait for it", s.Group, s.Queued)
	case s.Yielded.Term == 0:
		return "subscription that has taken no value yet"
	case s.Behind:
		return fmt.Sprintf("subscription at %s, which has not taken the newest", revision(s.Yielded))
	}
	return fmt.Sprintf("subscription at %s", revision(s.Yielded))
}

// value tells all of a value in one line.
func (a *app) value(v inspect.Value, now time.Time) string {
	text := a.styled(valueCell(v, now))
	if v.State == inspect.Unknown {
		return text + because(v.Reason)
	}
	text += fmt.Sprintf(", revision %s, version %s, %s", revision(v.Revision), version(v), size(v))
	if !v.Changed.IsZero() {
		text += ", changed " + age(v.Changed, now) + " ago"
	}
	return text + because(v.Reason)
}

func (a *app) styled(f cell) string { return a.style.set(f.text, f.tone) }

func watchCell(w inspect.Watch) cell {
	switch w.State {
	case inspect.Watching:
		return cell{w.State, good}
	case inspect.Retrying:
		return cell{w.State + ", after " + counted(w.Failures, "failure", "failures"), bad}
	}
	return cell{w.State, poor}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
