package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// keysReport is what keys prints as JSON.
type keysReport struct {
	Keys []namedKey `json:"keys"`
	Left int        `json:"left_out"` // for -n
}

type namedKey struct {
	Name string `json:"name"`
	inspect.Key
}

func (a *app) keys(ctx context.Context, args []string) error {
	q := inspect.Query{Keys: true, Limit: a.count}
	if len(args) > 0 {
		q.Prefix = args[0]
	}
	all, err := a.wanted(ctx, q)
	if err != nil {
		return err
	}
	report := keysReport{}
	report.Keys = each(all, func(name string, l *inspect.Leadership) (keys []namedKey) {
		report.Left += l.Matched - len(l.Keys)
		for _, k := range l.Keys {
			keys = append(keys, namedKey{name, k})
		}
		return keys
	})
	if a.json {
		return a.document(report)
	}
	now := time.Now()
	rows := [][]cell{}
	for _, k := range report.Keys {
		rows = append(rows, []cell{
			c(k.Name), c(k.Key.Key), valueCell(k.Value, now), c(age(k.Value.Changed, now)), c(revision(k.Value.Revision)),
			c(version(k.Value)), c(size(k.Value)), c(k.Watch.State), c(pids(k.Subscribers)),
		})
	}
	a.table([]string{"NAME", "KEY", "STATE", "CHANGED", "REVISION", "VERSION", "SIZE", "WATCH", "SUBSCRIBERS"}, rows)
	if report.Left > 0 {
		a.print("and %d more\n", report.Left)
	}
	return nil
}

// valueCell tells the state of a value, and since when.
func valueCell(v inspect.Value, now time.Time) cell {
	text := v.State + " " + age(v.Since, now)
	switch v.State {
	case inspect.Fresh:
		return cell{text, good}
	case inspect.Stale:
		return cell{text, bad}
	}
	return cell{v.State, poor}
}

func revision(r inspect.Revision) string {
	if r.Term == 0 {
		return "-"
	}
	return fmt.Sprintf("%d.%d", r.Term, r.Seq)
}

func version(v inspect.Value) string {
	if v.Version == "" {
		return "-"
	}
	return v.Version
}

func size(v inspect.Value) string {
	switch {
	case v.Deleted:
		return "deleted"
	case v.State == inspect.Unknown:
		return "-"
	case v.Bytes < 10<<10:
		return fmt.Sprintf("%d B", v.Bytes)
	case v.Bytes < 10<<20:
		return fmt.Sprintf("%d KiB", v.Bytes>>10)
	}
	return fmt.Sprintf("%d MiB", v.Bytes>>20)
}

// pids lists processes, each once.
func pids(all []int) string {
	all = slices.Compact(slices.Sorted(slices.Values(all)))
	if len(all) == 0 {
		return "-"
	}
	var words []string
	for _, pid := range all[:min(len(all), 8)] {
		words = append(words, strconv.Itoa(pid))
	}
	if len(all) > 8 {
		words = append(words, fmt.Sprintf("and %d more", len(all)-8))
	}
	return strings.Join(words, " ")
}
