package clusterclient

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

const (
	// A port that answers, but not as a cluster does, is a stranger's after
	// this many attempts over this long. It is not one at once, since a
	// process that is being killed looks the same for a moment.
	foreignAttempts = 3
	foreignAfter    = 2 * time.Second
)

// errNoAnswer is what is known of whoever holds the port while it is asked.
var errNoAnswer = errors.New("whoever listens has not answered")

// stranger collects evidence that the port is held by something else.
type stranger struct {
	attempts int
	since    time.Time
	asked    time.Time // for the first time
}

// An unansweredError is that whoever holds the port has not answered so far.
type unansweredError struct {
	address string
	since   time.Time
	err     error // of the last attempt
}

func (e *unansweredError) Error() string { return e.address + ": " + e.err.Error() }
func (e *unansweredError) Unwrap() error { return e.err }

// approach notes that whoever holds the port is about to be asked, so that a
// Create whose time is over before there is an answer says so.
func (c *Client) approach(suspect *stranger) {
	if suspect.attempts > 0 {
		return
	}
	suspect.asked = time.Now()
	if errors.Is(c.status.waitsFor(), errCreated) {
		c.status.wait(c.unanswered(suspect, errNoAnswer))
	}
}

func (c *Client) unanswered(suspect *stranger, err error) error {
	return &Error{Code: errs.NoLeader, Op: "join", Name: c.name, Cause: &unansweredError{c.address, suspect.asked, err}}
}

// waitedFor returns what a Create whose time is over was waiting for.
func (c *Client) waitedFor() error {
	waiting := c.status.waitsFor()
	silent, ok := errors.AsType[*unansweredError](waiting)
	if !ok {
		return waiting
	}
	owners, asked := c.ownersOfPort(), time.Since(silent.since).Round(time.Millisecond)
	e := &Error{Code: errs.NoLeader, Op: "join", Name: c.name}
	switch {
	case asked < foreignAfter:
		e.Cause = fmt.Errorf("%s is held by %s, asked for %v: %w", c.address, holderOf(c.address), asked, silent.err)
	case len(owners) > 0:
		return c.notAnswering("join", owners, silent.err)
	default:
		e.Code, e.Cause = errs.ForeignListener, c.strange(fmt.Errorf("asked for %v: %w", asked, silent.err))
	}
	return e
}

// judge explains why nobody could be followed. It accuses a stranger only on
// evidence.
func (c *Client) judge(err error, suspect *stranger) error {
	switch {
	case errors.Is(err, errNobody):
		*suspect = stranger{}
		return &Error{Code: errs.NoLeader, Op: "join", Name: c.name, Cause: c.nobody(err)}
	case !errors.Is(err, errNotOurs) && !errors.Is(err, errHelloLost):
		*suspect = stranger{}
		return err
	}
	if owners := c.ownersOfPort(); len(owners) > 0 {
		*suspect = stranger{}
		return c.notAnswering("join", owners, err)
	}
	if suspect.attempts++; suspect.attempts == 1 {
		suspect.since = time.Now()
	}
	if suspect.attempts < foreignAttempts || time.Since(suspect.since) < foreignAfter {
		return c.unanswered(suspect, err)
	}
	return c.final(errs.ForeignListener, c.strange(fmt.Errorf("%d attempts, the last: %w", suspect.attempts, err)))
}

// strange says who holds the port and what to do about it; evidence is that it
// does not answer as a cluster does.
func (c *Client) strange(evidence error) error {
	holder, why, todo := holderOf(c.address), "is no cluster of ours or does not answer", "stop it or choose another port"
	if c.isStopped(holder) {
		why, todo = "is "+lease.Stopped.String(), fmt.Sprintf("let it go on (kill -CONT %d) or end it (kill -KILL %d)", holder.PID, holder.PID)
	}
	return fmt.Errorf("%s is held by %s, which %s (%w); %s", c.address, holder, why, evidence, todo)
}

// notAnswering explains what a process of the cluster that holds the port and
// says nothing makes us wait for.
func (c *Client) notAnswering(op string, owners []lease.Record, err error) error {
	i := max(0, slices.IndexFunc(owners, func(r lease.Record) bool { return r.Name == c.name }))
	silent := c.lease.Host().Now() - owners[i].Renewed
	return &Error{Code: errs.NoLeader, Op: op, Name: c.name, Cause: fmt.Errorf(
		"%s holds the port and does not answer, its last sign of life was %v ago; after %v another process that can lead takes over, or end that process: %w",
		c.describeHolder(owners[i]), silent.Round(time.Millisecond), max(owners[i].Valid, c.opts.deposeAfter), err)}
}

// holderOf returns the process that listens at address.
func holderOf(address string) peercred.Process {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return peercred.Process{}
	}
	p, _ := peercred.Listener(at)
	return p.Process(0)
}

func (c *Client) isStopped(p peercred.Process) bool {
	host := c.lease.Host()
	return host.Look(lease.Process{PID: p.PID, Start: p.Started, Space: host.Self.Space}) == lease.Stopped
}
