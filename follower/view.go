package follower

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
)

// viewLocked sets v to the key's newest value as this subscription sees it, if
// it has one, and returns when that changes by itself, if it does.
func (s *Subscription) viewLocked(v *Value) (has bool, again time.Time) {
	k := s.key
	has = k.has
	k.showLocked(v)
	if s.keepsLocked() {
		again = k.rare.emptied.Add(s.opts.keep)
		*v = s.keptLocked(*v, again)
	}
	if g := s.gate(); g != nil && has {
		*v, has = g.passLocked(*v, s.isJudgedLocked())
	}
	return has, again
}

// keepsLocked reports whether the value before stands in for nothing.
func (s *Subscription) keepsLocked() bool {
	r := s.key.rare
	return s.opts.keep > 0 && r.kept != nil && time.Since(r.emptied) < s.opts.keep
}

// keptLocked returns the value that stands in for empty.
func (s *Subscription) keptLocked(empty Value, until time.Time) Value {
	what := "is empty"
	if empty.Deleted {
		what = "does not exist"
	}
	v := s.key.rare.kept.valueOf(empty.Key)
	v.Stale, v.Since, v.Origin = true, s.key.rare.emptied, OriginMemory
	v.Reason = fmt.Errorf("the upstream says that the key %s; the value before is kept until %s", what, until.Format(time.TimeOnly))
	if empty.Stale {
		v.Since = earlier(v.Since, empty.Since)
		v.Reason = errors.Join(v.Reason, empty.Reason)
	}
	return v
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// tooStaleLocked reports whether MaxStale forbids v. g then has the error, if
// it was not said yet and it is time to, or when to look again.
func (s *Subscription) tooStaleLocked(v *Value, g *glance) bool {
	if !s.opts.bounded || !v.Stale {
		return false
	}
	limit := v.Since.Add(s.opts.maxStale)
	forbidden := !time.Now().Before(limit)
	if since, settling := s.key.settlingSinceLocked(); forbidden && settling {
		if created := s.rare.created; created.After(since) {
			since = created
		}
		if settled := since.Add(s.key.f.cfg.StaleAfter); settled.After(limit) {
			limit = settled
		}
	}
	switch {
	case time.Now().Before(limit):
		if g.again.IsZero() || limit.Before(g.again) {
			g.again = limit
		}
	case !s.refused:
		s.refused = true
		g.err = s.staleError(v)
	}
	return forbidden
}

func (s *Subscription) staleError(v *Value) error {
	since := v.Since.Format(time.DateTime)
	return s.key.f.fail(errs.Stale, "next", s.key.name, fmt.Errorf("since %s, for %v at most: %w", since, s.opts.maxStale, v.Reason))
}

// A gate is the validation of one subscription. What is in it is guarded by
// key.mu.
type gate struct {
	validate func(Value) error
	judging  bool // validate runs
	awaited  bool // somebody looked meanwhile
	judged   verdict
	has      bool
	good     Value     // the last one let through
	since    time.Time // when a newer one was rejected
	why      error     // nil when good is the newest that was judged
}

// A verdict names what was judged: the serial of the key's value, and whether
// the value before stood in for it.
type verdict struct {
	serial uint64
	kept   bool
}

// lockJudged takes the key's mutex when the newest value has been validated, or
// somebody else is about to, whom it does not wait for: that may take long, and
// the validation itself may look at the subscription.
func (s *Subscription) lockJudged() {
	s.key.mu.Lock()
	g := s.gate()
	for g != nil && s.key.has && !s.isJudgedLocked() {
		if g.judging {
			g.awaited = true
			return
		}
		s.judgeLocked(g)
	}
}

func (s *Subscription) isJudgedLocked() bool { return s.gate().judged == s.newestLocked() }

func (s *Subscription) newestLocked() verdict {
	return verdict{serial: s.key.serial, kept: s.keepsLocked()}
}

// judgeLocked validates the newest value, and lets go of the mutex meanwhile.
// It is not taken again if the validation ends its goroutine.
func (s *Subscription) judgeLocked(g *gate) {
	v, of := s.toJudgeLocked()
	g.judging = true
	s.key.mu.Unlock()
	returned := false
	defer func() {
		if !returned {
			s.key.mu.Lock()
			defer s.key.mu.Unlock()
			s.endJudgingLocked(g)
		}
	}()
	err := s.check(v)
	returned = true
	s.key.mu.Lock()
	g.settleLocked(v, of, err)
	s.endJudgingLocked(g)
}

// endJudgingLocked lets those look again who found a value being judged.
func (s *Subscription) endJudgingLocked(g *gate) {
	if g.awaited {
		s.wakeLocked()
	}
	g.judging, g.awaited = false, false
}

// toJudgeLocked returns the newest value.
func (s *Subscription) toJudgeLocked() (v Value, of verdict) {
	of = s.newestLocked()
	v = s.key.valueLocked()
	if of.kept {
		v = s.keptLocked(v, s.key.rare.emptied.Add(s.opts.keep))
	}
	return v, of
}

// check calls the program's function. An error is logged: nobody may be in
// Next when a value comes that was rejected.
func (s *Subscription) check(v Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if times, due := s.key.f.repeats.Due("panic " + v.Key); due {
				s.key.f.cfg.Logger.Error("validation panicked", "key", v.Key, "panic", p, "times", times, "stack", string(debug.Stack()))
			}
			err = fmt.Errorf("the validation panicked: %v", p)
		}
		if err != nil {
			if times, due := s.key.f.repeats.Due("rejected " + v.Key); due {
				s.key.f.cfg.Logger.Warn("value rejected, the last good one stays", "key", v.Key, "revision", v.Revision, "version", v.Version, "error", err, "times", times)
			}
			err = s.key.f.fail(errs.Rejected, "validate", v.Key, fmt.Errorf("revision %v, version %q: %w", v.Revision, v.Version, err))
		}
	}()
	return s.rare.gate.validate(v)
}

func (g *gate) settleLocked(v Value, of verdict, err error) {
	g.judged = of
	switch {
	case err == nil:
		g.has, g.good, g.why = true, v, nil
	case g.why == nil:
		g.since, g.why = time.Now(), err
	default:
		g.why = err
	}
}

// passLocked returns v if it was judged and let through, and else the last value
// that was.
func (g *gate) passLocked(v Value, judged bool) (Value, bool) {
	if judged && g.why == nil {
		return v, true
	}
	good := g.good
	switch {
	case g.why != nil:
		good.Stale, good.Since, good.Origin = true, g.since, OriginMemory
		good.Reason = g.why
		if v.Stale {
			good.Since = earlier(g.since, v.Since)
		}
	case v.Stale:
		good.Stale, good.Since, good.Reason, good.Origin = true, v.Since, v.Reason, OriginMemory
	}
	return good, g.has
}
