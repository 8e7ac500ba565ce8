package soak

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// forever is the end of what has not ended.
const forever = int64(math.MaxInt64)

// A span is a time from one moment to another, in Unix nanoseconds.
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from < o.to && o.from < s.to }

// A life is what is known of one process.
type life struct {
	pid     int
	born    int64
	told    int64 // when it was told to leave, or killed; forever if it was not
	hard    bool  // killed
	gone    int64
	heard   int64 // when the last thing happened that is known from it
	stopped []span
}

// lives is what happened to the processes and to the centre.
type lives struct {
	byPID    map[int]*life
	trouble  []span  // the centre was down or hung
	stops    []span  // of any process
	hard     []int64 // when a process was killed or stopped
	late     []span  // the driver did not run, and so maybe nobody did
	takeover []int64 // when a leadership began
	end      int64
}

// newLives reads the lives from a history.
func newLives(all []Record) *lives {
	ls := &lives{byPID: map[int]*life{}}
	for i := range all {
		r := &all[i]
		ls.end = max(ls.end, r.At)
		switch r.Kind {
		case Started:
			ls.of(r.PID).born = r.At
		case Yielded, Confirmed, Called, Ran:
			l := ls.of(r.PID)
			l.heard = max(l.heard, r.At)
		case Gone:
			l := ls.of(r.PID)
			l.gone, l.told = r.At, min(l.told, r.At)
		case Fault:
			ls.fault(r)
		case Late:
			ls.late = append(ls.late, span{r.At - int64(r.For), r.At})
		case Role:
			if r.Role == leaderRole {
				ls.takeover = append(ls.takeover, r.At)
			}
		}
	}
	return ls
}

func (ls *lives) of(pid int) *life {
	l := ls.byPID[pid]
	if l == nil {
		l = &life{pid: pid, told: forever, gone: forever}
		ls.byPID[pid] = l
	}
	return l
}

func (ls *lives) fault(r *Record) {
	switch r.Op {
	case Kill:
		l := ls.of(r.PID)
		l.told, l.hard = min(l.told, r.At), true
		ls.hard = append(ls.hard, r.At)
	case Terminate:
		l := ls.of(r.PID)
		l.told = min(l.told, r.At)
	case Stop:
		l := ls.of(r.PID)
		l.stopped = append(l.stopped, span{r.At, forever})
		ls.stops = append(ls.stops, span{r.At, forever})
		ls.hard = append(ls.hard, r.At)
	case Continue:
		l := ls.of(r.PID)
		endLast(l.stopped, r.At)
		for i := range ls.stops { // of this process, and none is stopped twice at once
			if slices.ContainsFunc(l.stopped, func(s span) bool { return s.from == ls.stops[i].from }) {
				ls.stops[i].to = min(ls.stops[i].to, r.At)
			}
		}
	case Outage, Hang:
		ls.trouble = append(ls.trouble, span{r.At, forever})
	case Restored, Unhang:
		endLast(ls.trouble, r.At)
	}
}

func endLast(spans []span, at int64) {
	if n := len(spans); n > 0 && spans[n-1].to == forever {
		spans[n-1].to = at
	}
}

// outlived returns how much of s passed while one of the spans did.
func outlived(s span, spans []span) (sum time.Duration) {
	spans = slices.Clone(spans)
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	at := s.from
	for _, o := range spans {
		from, to := max(at, o.from), min(s.to, o.to)
		if from < to {
			sum += time.Duration(to - from)
			at = to
		}
	}
	return sum
}
