package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// show shows the snapshots until ctx ends: in place on a terminal, and else as
// plain lines, one for each thing that changes.
func show(ctx context.Context, s *supervisor, page string) error {
	fd := int(os.Stdout.Fd())
	if !term.IsTerminal(fd) {
		return printLines(ctx, s, page, os.Stdout)
	}
	size := func() (width, height int) {
		width, height, err := term.GetSize(fd)
		if err != nil || width <= 0 || height <= 0 {
			return 80, 24
		}
		return width, height
	}
	return redraw(ctx, s, &screen{out: os.Stdout, page: page, size: size, color: os.Getenv("NO_COLOR") == ""})
}

// printLines writes for programs and files: no colour, and no ages, which
// would make every second a change.
func printLines(ctx context.Context, s *supervisor, page string, out io.Writer) error {
	_, err := fmt.Fprintf(out, "page on %s\netcd on %s, cluster on 127.0.0.1:%d\n", page, s.etcd.endpoint, s.port)
	printed := make(map[string]string) // the line printed last for each subject
	say := func(subject, line string) {
		if err == nil && printed[subject] != line {
			printed[subject] = line
			_, err = fmt.Fprintln(out, line)
		}
	}
	lastEvent := 0
	for err == nil {
		snap, changed := s.watch()
		for _, e := range snap.Events {
			if e.ID > lastEvent {
				lastEvent = e.ID
				say("event", e.At.Format(time.TimeOnly)+" "+e.Text)
			}
		}
		for _, w := range snap.Workers {
			say(fmt.Sprint(w.PID), w.String())
		}
		say("etcd", fmt.Sprintf("etcd counts %v", snap.Etcd))
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
	return err
}

// redraw draws each snapshot over the one before, and once a second for the
// ages.
func redraw(ctx context.Context, s *supervisor, screen *screen) error {
	const ( // a cursor that does not jump about, and lines that do not wrap
		prepare = "\x1b[?25l\x1b[?7l"
		restore = "\x1b[?25h\x1b[?7h"
	)
	_, _ = io.WriteString(screen.out, prepare)
	defer func() { _, _ = io.WriteString(screen.out, restore) }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		snap, changed := s.watch()
		if err := screen.draw(snap, time.Now()); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// A screen draws on a terminal.
type screen struct {
	out   io.Writer
	page  string
	size  func() (width, height int)
	color bool
	drawn int // lines, the last time
}

const (
	bold  = "1"
	dim   = "2"
	green = "32"
	red   = "31"
)

// draw writes a whole picture at once, so that it does not flicker.
func (s *screen) draw(snap snapshot, now time.Time) error {
	width, height := s.size()
	lines := s.lines(snap, now, height-1) // what scrolled away cannot be drawn over
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn)
	}
	for _, l := range lines {
		b.WriteString("\r" + l.paint(width, s.color) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.drawn = len(lines)
	_, err := io.WriteString(s.out, b.String())
	return err
}

func (s *screen) lines(snap snapshot, now time.Time, most int) []line {
	lines := []line{
		{text: "clusterclient: one connection to etcd for all processes of a host", style: bold},
		{text: fmt.Sprintf("page %s   etcd %s   cluster 127.0.0.1:%d   Ctrl-C ends", s.page, snap.Endpoint, snap.Port), style: dim},
		{},
		{text: fmt.Sprintf("%8s  %-9s %4s  %-9s %-6s %5s  %s", "PID", "ROLE", "TERM", "REVISION", "STATE", "AGE", strings.ToUpper(snap.Key)), style: dim},
	}
	for _, w := range snap.Workers {
		lines = append(lines, workerLine(w, now))
	}
	lines = append(lines, line{}, etcdLine(snap), line{})
	const shownEvents = 8
	shown := min(shownEvents, max(0, most-len(lines)))
	for _, e := range snap.Events[max(0, len(snap.Events)-shown):] {
		lines = append(lines, line{text: e.At.Format(time.TimeOnly) + "  " + e.Text, style: dim})
	}
	return lines[:min(len(lines), most)]
}

func workerLine(w row, now time.Time) line {
	l := line{text: fmt.Sprintf("%8d  %-9s %4d  %-9s %-6s %5s  %s", w.PID, w.role(), w.Term, w.Revision, w.freshness(), age(w.state, now), w.value())}
	switch {
	case w.Stale || w.Role == "none":
		l.style = red
	case w.Role == "leader":
		l.style = bold
	}
	return l
}

// age says since when the worker has the value or, if it is stale, since when
// it is.
func age(s state, now time.Time) string {
	since := s.Seen
	if s.Stale {
		since = s.Since
	}
	if !s.Known {
		return ""
	}
	return max(0, now.Sub(since)).Truncate(time.Second).String()
}

func etcdLine(snap snapshot) line {
	l := line{text: fmt.Sprintf("etcd counts %v for %s", snap.Etcd, count(len(snap.Workers), "worker")), style: green}
	if !snap.Etcd.Known {
		l.style = red
	}
	return l
}

type line struct{ text, style string }

// paint cuts the line to width and gives it its style.
func (l line) paint(width int, color bool) string {
	text := []rune(l.text)
	text = text[:min(len(text), width)]
	if !color || l.style == "" {
		return string(text)
	}
	return "\x1b[" + l.style + "m" + string(text) + "\x1b[0m"
}
