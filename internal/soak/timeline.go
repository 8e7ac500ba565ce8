package soak

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// timelineBefore is how much of what came before a violation is shown,
	// timelineLines how many lines at most.
	timelineBefore = 20 * time.Second
	timelineLines  = 150
)

// A Replay is what it takes to run a run again.
type Replay struct {
	Seed      uint64
	Processes int
	First     int // episode
	Bad       int // the episode in which something was broken
	Length    time.Duration
	Dir       string // where the history and the logs lie
}

// Explain returns what there is to know of a run that broke something: how it
// came to the first violation, and the commands that replay it.
func (r Replay) Explain(all []Record, broken []Violation) string {
	const command = "\tgo test ./internal/soak -run TestSoak -seed=%d -processes=%d -episode=%d "
	return fmt.Sprintf("how it came to the first of %d violations:\n%shistory and logs are in %s; to replay:\n"+command+"-soak=10s -count=5 -v\n"+command+"-soak=%v -v",
		len(broken), Timeline(all, broken[0]), r.Dir, r.Seed, r.Processes, r.Bad, r.Seed, r.Processes, r.First, r.Length)
}

// Timeline returns what led to a violation: faults, changes of role and what
// else is rare, in the order of its time, which counts from the first record.
func Timeline(all []Record, v Violation) string {
	if len(all) == 0 {
		return ""
	}
	zero := all[0].At
	var shown []Record
	roles := map[member]Record{}
	for _, r := range all {
		who := member{r.PID, r.Name}
		if r.Kind == Role && r.Role == roles[who].Role && r.Term == roles[who].Term {
			continue // only what is waited for has changed
		}
		if r.Kind == Role {
			roles[who] = r
		}
		if r.At > v.At-int64(timelineBefore) && r.At < v.At+int64(time.Second) && rare(&r) {
			shown = append(shown, r)
		}
	}
	sortBy(shown, func(r Record) int64 { return r.At })
	if n := len(shown) - timelineLines; n > 0 {
		shown = shown[n:]
	}
	var b strings.Builder
	told := false
	for i := range shown {
		if r := &shown[i]; r.At > v.At && !told {
			told = true
			fmt.Fprintf(&b, "%s  ======= %s: %s\n", clock(v.At-zero), v.Rule, v.Text)
		}
		fmt.Fprintf(&b, "%s  %s\n", clock(shown[i].At-zero), line(&shown[i]))
	}
	if !told {
		fmt.Fprintf(&b, "%s  ======= %s: %s\n", clock(v.At-zero), v.Rule, v.Text)
	}
	return b.String()
}

func clock(at int64) string { return fmt.Sprintf("%9.3f s", time.Duration(at).Seconds()) }

func rare(r *Record) bool {
	switch r.Kind {
	case Role, Started, Fault, Gone, Late, Rest, Unrest, Failed, Register, Deregister:
		return true
	case Left:
		return r.Count > 0
	case Called:
		return r.Err != "" && !slices.Contains(r.Is, "closed")
	}
	return false
}

func line(r *Record) string {
	who := ""
	if r.PID != 0 {
		who = fmt.Sprintf("pid %d ", r.PID)
	}
	switch r.Kind {
	case Role:
		return fmt.Sprintf("%s%s: %s, term %d, leader pid %d", who, r.Name, r.Role, r.Term, r.Leader)
	case Fault:
		return fmt.Sprintf("FAULT %s %s", r.Op, who)
	case Called:
		return fmt.Sprintf("%scall %q, begun %v before: %s", who, r.Call, time.Duration(r.At-r.Began), r.Err)
	case Register, Deregister:
		return fmt.Sprintf("%s%s %q in term %d", who, r.Kind, r.Key, r.Term)
	case Late, Rest:
		return fmt.Sprintf("%s %v", r.Kind, r.For)
	case Unrest:
		return fmt.Sprintf("%s%s is not at rest: %s", who, r.Name, r.Err)
	case Failed:
		return fmt.Sprintf("%sfailed to %s: %s", who, r.Op, r.Err)
	}
	return fmt.Sprintf("%s%s %s %d", who, r.Kind, r.Op, r.Count)
}

// short names a value for people.
func short(r *Record) string {
	data := r.Data
	if len(data) > 40 {
		data = data[:40] + "…"
	}
	if r.Deleted {
		return fmt.Sprintf("a deletion (revision %d.%d)", r.Term, r.Seq)
	}
	return fmt.Sprintf("%q, version %s (revision %d.%d)", data, r.Version, r.Term, r.Seq)
}

func sortBy[T any, K cmp.Ordered](all []T, by func(T) K) {
	slices.SortStableFunc(all, func(a, b T) int { return cmp.Compare(by(a), by(b)) })
}
