package clusterclient_test

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
)

// A job is what one call, or several that may share its runs, are about.
type job struct {
	order
	calls []*madeCall
	runs  []*handlerRun
}

// broken returns what is wrong with the runs: each is one that a caller wanted
// at that moment, and there is more than one only of a method that allows it.
// rough are the moments from which on less is promised.
func (j *job) broken(rough []time.Time) error {
	one := j.calls[0]
	if len(j.runs) > 1 && (!one.idempotent() || len(j.calls) == 1 && one.undisturbed(rough) && j.Work < leavingTakes) {
		return fmt.Errorf("was run %d times", len(j.runs))
	}
	for _, run := range j.runs {
		switch {
		case !slices.ContainsFunc(j.calls, func(c *madeCall) bool { return c.waitsAt(run.began) }):
			return fmt.Errorf("a run began at %v, when nobody wanted that", run.began)
		case !slices.ContainsFunc(j.calls, func(c *madeCall) bool { return c.lets(run, rough) }):
			return fmt.Errorf("a run ended at %v, when nobody waited for it any more", run.ended)
		}
	}
	return nil
}

// A handlerRun is one run of a handler, in whichever process.
type handlerRun struct{ began, ended time.Time }

// A madeCall is one call as its caller saw it.
type madeCall struct {
	job     *job
	node    *clustertest.Node
	method  string
	oneway  bool
	began   time.Time
	timeout time.Duration

	cancelled time.Time // zero if it is not
	ended     time.Time // zero until it has
	over      bool      // the caller's process was ended or stopped meanwhile
	answer    int
	err       error
}

func (c *madeCall) String() string {
	given := "never"
	if !c.cancelled.IsZero() {
		given = "after " + c.cancelled.Sub(c.began).String()
	}
	runs := []string{}
	for _, run := range c.job.runs {
		runs = append(runs, fmt.Sprintf("%v to %v", run.began.Sub(c.began), run.ended.Sub(c.began)))
	}
	return fmt.Sprintf("call of %q (%+v), oneway: %v, began %s, may take %v, given up %s, run %v, ended after %v: %d, %v",
		c.method, c.job.order, c.oneway, c.began.Format(time.TimeOnly+".000"), c.timeout, given, runs, c.ended.Sub(c.began), c.answer, c.err)
}

func (c *madeCall) deadline() time.Time { return c.began.Add(c.timeout) }

// idempotent reports whether the call may be run again.
func (c *madeCall) idempotent() bool { return c.method == "again" || c.method == "shared" }

// outcome names how the call has ended.
func (c *madeCall) outcome() string {
	switch {
	case c.err == nil && c.oneway:
		return "accepted"
	case c.err == nil:
		return "answered"
	case errors.Is(c.err, clusterclient.ErrOutcomeUnknown):
		return "unknown"
	case errors.Is(c.err, clusterclient.ErrClosed):
		return "closed"
	}
	return status.Code(c.err).String()
}

// undisturbed reports whether all was gentle from one time to another, and for a
// while before and after.
func undisturbed(rough []time.Time, from, to time.Time) bool {
	return !slices.ContainsFunc(rough, func(at time.Time) bool {
		return at.After(from.Add(-longEnough)) && at.Before(to.Add(longEnough))
	})
}

func (c *madeCall) undisturbed(rough []time.Time) bool { return undisturbed(rough, c.began, c.ended) }

// leavingTakes is less than what a leader that leaves gives the calls that are
// under way.
const leavingTakes = 4 * time.Second

// waitsAt reports whether a run may begin then. Who gave up before may have been
// too late to say so.
func (c *madeCall) waitsAt(t time.Time) bool { return !t.Before(c.began) && t.Before(c.deadline()) }

// lets reports whether a run goes on for no longer than the caller waits. One that
// was closed may have told the leader a moment later.
func (c *madeCall) lets(run *handlerRun, rough []time.Time) bool {
	return !run.ended.IsZero() && (c.oneway || c.over || !run.ended.After(c.ended) || !c.undisturbed(rough))
}

// broken returns what is wrong with how the call ended: the answer is that of
// its handler, and an error says what has happened.
func (c *madeCall) broken(rough []time.Time) error {
	switch {
	case c.ended.IsZero():
		return errors.New("has not ended")
	case c.over && c.err != nil:
		return nil
	case c.ended.After(c.deadline()) && !c.over:
		return errors.New("has ended after its deadline")
	}
	return c.brokenEnd(c.undisturbed(rough))
}

// brokenEnd returns what is wrong with how the call ended.
func (c *madeCall) brokenEnd(gentle bool) error {
	ran := len(c.job.runs) > 0
	switch c.outcome() {
	case "accepted":
		return when(gentle && !ran, "was accepted and not run")
	case "answered":
		return when(c.answer != c.job.ID || !ran || c.job.End != answers, "was answered by %d", c.answer)
	case "unknown":
		return when(c.idempotent() || gentle && c.job.Work < leavingTakes, "has an unknown outcome")
	case codes.Aborted.String():
		return when(c.job.End != refuses || !ran || status.Convert(c.err).Message() != fmt.Sprintf("refused %d", c.job.ID), "was not refused so")
	case codes.Internal.String():
		return when(c.job.End != panics || !ran, "has not panicked")
	case codes.ResourceExhausted.String():
		return when(c.method != "limited" || !errors.Is(c.err, clusterclient.ErrLimit), "is not limited")
	case codes.DeadlineExceeded.String():
		return when(c.ended.Before(c.deadline()), "ended before its deadline")
	case codes.Canceled.String():
		return when(!c.ended.Equal(c.cancelled), "was not cancelled then")
	}
	return errors.New("ended in no way that there is")
}

func when(wrong bool, format string, args ...any) error {
	if !wrong {
		return nil
	}
	return fmt.Errorf(format, args...)
}
