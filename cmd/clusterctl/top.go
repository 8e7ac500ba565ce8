package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// topReport is what top prints as JSON, one for each look.
type topReport struct {
	At    time.Time `json:"at"`
	Names []topName `json:"names"`
}

// A topName is one name, with rates since the look before.
type topName struct {
	Port      int          `json:"port"`
	Name      string       `json:"name"`
	State     string       `json:"state"`
	Term      uint64       `json:"term"`
	Leader    inspect.Peer `json:"leader"`
	Trouble   string       `json:"trouble,omitempty"` // why the leader tells nothing; the rest is 0 then
	Followers int          `json:"followers"`
	Silent    int          `json:"silent"` // followers that do not answer
	Keys      int          `json:"keys"`
	StaleKeys int          `json:"stale_keys"`
	Shares    int          `json:"subscriptions"`
	Running   int          `json:"running"`
	Updates   float64      `json:"updates_per_second"`
	Sent      float64      `json:"sent_per_second"`
	Calls     float64      `json:"calls_per_second"`
	Refused   uint64       `json:"refused"`

	of inspect.Name
}

// A count is what rates are made of.
type count struct {
	at                   time.Time
	term                 uint64
	updates, sent, calls uint64
}

func (a *app) top(ctx context.Context, _ []string) error {
	before := make(map[string]count)
	tick := time.NewTicker(max(a.interval, 10*time.Millisecond))
	defer tick.Stop()
	for shown := 0; ; {
		all, troubles := a.places(ctx, inspect.Query{Followers: true})
		if ctx.Err() != nil {
			return nil
		}
		if len(all) == 0 && shown == 0 {
			return a.nothing(troubles)
		}
		report := topReport{At: time.Now(), Names: []topName{}}
		for _, p := range all {
			report.Names = append(report.Names, topOf(p, before))
		}
		if err := a.showTop(report, troubles); err != nil {
			return err
		}
		if shown++; shown == a.count {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// topOf returns what there is to tell of one name, and notes its counts.
func topOf(p place, before map[string]count) topName {
	t := topName{Port: p.port, Name: p.Name.Name, State: p.State, Term: p.Term, Leader: p.Leader, Trouble: p.Trouble, of: p.Name}
	l := p.Leadership
	if l == nil {
		return t
	}
	t.Followers, t.Keys, t.StaleKeys = len(l.Followers)-1, l.Upstream.Watches, l.Upstream.StaleKeys
	t.Shares, t.Running, t.Refused = l.Subscriptions, l.Running, l.Refused
	now := count{at: time.Now(), term: p.Term, updates: l.Updates, sent: l.Sent}
	for _, m := range l.Methods {
		for _, n := range m.Calls {
			now.calls += n
		}
	}
	for _, f := range l.Followers {
		if f.Holding == nil {
			t.Silent++
		}
	}
	id := fmt.Sprint(p.port, " ", t.Name)
	last, ok := before[id]
	before[id] = now
	if s := now.at.Sub(last.at).Seconds(); ok && last.term == now.term && s > 0 {
		t.Updates = float64(now.updates-last.updates) / s
		t.Sent = float64(now.sent-last.sent) / s
		t.Calls = float64(now.calls-last.calls) / s
	}
	return t
}

func (a *app) showTop(report topReport, troubles []error) error {
	if a.json {
		return a.line(report)
	}
	if a.style.colour {
		a.print("\x1b[H\x1b[2J")
	}
	a.print("%s\n", report.At.Format(time.DateTime))
	rows := [][]cell{}
	for _, t := range report.Names {
		rows = append(rows, topRow(t))
	}
	a.table([]string{"NAME", "STATE", "TERM", "LEADER", "FOLLOWERS", "KEYS", "SHARED BY", "UPDATES/s", "SENT/s", "CALLS/s", "RUNNING", "REFUSED"}, rows)
	for _, err := range troubles {
		a.print("%s\n", a.style.set(err.Error(), bad))
	}
	return nil
}

func topRow(t topName) []cell {
	row := []cell{c(t.Name), stateCell(t.of), c(strconv.FormatUint(t.Term, 10)), c(peer(known(t.Leader)))}
	if t.of.Leadership == nil {
		return append(row, slices.Repeat([]cell{c("-")}, 8)...)
	}
	followers := c(strconv.Itoa(t.Followers))
	if t.Silent > 0 {
		followers = cell{fmt.Sprintf("%d, %d silent", t.Followers, t.Silent), bad}
	}
	keys := c(strconv.Itoa(t.Keys))
	if t.StaleKeys > 0 {
		keys = cell{fmt.Sprintf("%d, %d stale", t.Keys, t.StaleKeys), bad}
	}
	return append(row, followers, keys, c(strconv.Itoa(t.Shares)),
		c(rate(t.Updates)), c(rate(t.Sent)), c(rate(t.Calls)), c(strconv.Itoa(t.Running)), c(strconv.FormatUint(t.Refused, 10)))
}

func rate(r float64) string { return strconv.FormatFloat(r, 'f', 1, 64) }
