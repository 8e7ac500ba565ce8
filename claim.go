package clusterclient

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// renewEvery is how often a leader renews its lease.
	renewEvery = time.Second

	// confirmAfter is how long whoever finds an expired lease waits before it
	// believes that: long enough for a leader that was kept from running just
	// like the observer.
	confirmAfter = 2 * renewEvery

	// unknownFor is how long a process of which the system says nothing is
	// taken to be there after its last sign of life.
	unknownFor = time.Minute

	// sureFor is for how long after it has renewed its lease a leader acts
	// without looking at it: five renewals. An operator who deposes a leader
	// that hangs waits for that, and no more.
	sureFor = 5 * renewEvery

	// claimTries is how often the lease may change under a claim.
	claimTries = 5
)

// A mandate is the right to lead for one term, and what it rests on.
type mandate struct {
	term      uint64
	lis       net.Listener // nil in a single process
	at        string       // where lis will be, while it is another leader's still
	owner     bool         // lis is the cluster's port
	by        *session     // the appointment by the port's owner; nil without
	leaseHold *leaseHold   // nil without a lease
	ready     *readiness   // an upstream that is open; nil without one
}

// address is where the mandate is to lead at.
func (m *mandate) address() string {
	if m.lis == nil {
		return m.at
	}
	return m.lis.Addr().String()
}

// drop gives a mandate back that is not used.
func (m *mandate) drop() {
	m.ready.drop()
	m.leaseHold.release()
	if m.by != nil {
		m.by.close()
	}
	if m.lis != nil {
		_ = m.lis.Close()
	}
}

// claim takes the lease for a leadership at m.lis, in the term of m or a later
// one. It fails when the lease is another's who is not known to be gone. When
// there is no lease to be had, the term of m has to do. Waiting to be sure is
// not needed when observed is true.
func (c *Client) claim(ctx context.Context, m *mandate, observed bool) error {
	next := lease.Record{
		Instance: hex.EncodeToString(c.instance), Address: m.address(),
		Term: max(m.term, c.term.next()), Valid: c.opts.deposeAfter, Sure: min(sureFor, c.opts.deposeAfter), OwnsPort: m.owner,
	}
	m.term = next.Term
	for range claimTries {
		seen, err := c.lease.Read()
		if err != nil {
			return nil // no directory: as well as can be done without
		}
		if err := c.claimable(ctx, seen, m, observed); err != nil {
			return err
		}
		r, err := c.lease.Claim(seen, next)
		switch {
		case err == nil:
			m.term, m.leaseHold = r.Term, c.newLeaseHold(r)
			return nil
		case !errors.Is(err, lease.ErrChanged):
			c.log.Warn("leading without a lease", "error", err)
			m.term = max(m.term, seen.Term+1)
			return nil
		}
	}
	return c.notLed(errors.New("others take the leadership at the same time"))
}

// claimable returns who is in the way of a claim.
func (c *Client) claimable(ctx context.Context, seen lease.Record, m *mandate, observed bool) error {
	host := c.lease.Host()
	switch {
	case seen.Vacant(host), c.goneFrom(ctx, seen, m):
		return nil
	case !seen.Expired(host, c.opts.deposeAfter):
		return c.notLed(fmt.Errorf("%s leads the name in term %d, at an address that does not answer now", c.describeHolder(seen), seen.Term))
	case observed:
		return nil
	}
	wait := time.NewTimer(confirmAfter)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if now, err := c.lease.Read(); err != nil || now != seen {
		return c.notLed(fmt.Errorf("%s was slow to renew its lease", c.describeHolder(seen)))
	}
	return nil
}

// goneFrom reports whether the leader that r tells of is known to be gone.
// Silence is not enough.
func (c *Client) goneFrom(ctx context.Context, r lease.Record, m *mandate) bool {
	switch {
	case r.Instance == hex.EncodeToString(c.instance):
		return true
	case c.lease.Host().Look(r.Process) == lease.Gone:
		return true
	case r.Address == c.address:
		return m.owner && m.lis != nil || m.by != nil // the port is this client's, or that of the one that appointed it
	}
	conn, err := c.opts.network.Dial(ctx, r.Address)
	if err == nil {
		_ = conn.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// notLed is an error that says why this client does not lead now.
func (c *Client) notLed(cause error) error {
	return &Error{Code: errs.NoLeader, Op: "lead", Name: c.name, Cause: cause}
}

// elsewhere returns where, according to the lease, the name is led other than
// at the port. Whoever asks there need not wait for a port that is held by a
// process which hangs.
func (c *Client) elsewhere(r lease.Record) (address string, ok bool) {
	if r.Address == c.address || r.Instance == hex.EncodeToString(c.instance) {
		return "", false
	}
	return r.Address, !r.Expired(c.lease.Host(), 0)
}

// replaceHung returns a mandate to lead beside a port that is held by a
// process of the cluster which does not answer: the leader of this name, whose
// lease has expired, or another one, when nobody leads this name.
func (c *Client) replaceHung(ctx context.Context) (*mandate, error) {
	if !c.opts.candidate() || c.term.yielding() {
		return nil, nil
	}
	r, err := c.lease.Read()
	host := c.lease.Host()
	switch {
	case err != nil:
		return nil, nil
	case r.DeposedBy != 0: // since it hangs
	case r.Vacant(host), host.Look(r.Process) == lease.Gone:
		if !c.hungOwner() {
			return nil, nil // it is not known whose the port is
		}
	case !r.Expired(host, c.opts.deposeAfter):
		return nil, nil
	}
	return c.besides(ctx, false)
}

// besides returns a mandate to lead at an address beside the port.
func (c *Client) besides(ctx context.Context, observed bool) (*mandate, error) {
	lis, err := c.listenBeside(ctx)
	if err != nil {
		return nil, err
	}
	m := &mandate{lis: lis}
	if err := c.claim(ctx, m, observed); err != nil {
		m.drop()
		return nil, err
	}
	if m.leaseHold == nil { // it was the reason to be here
		m.drop()
		return nil, nil
	}
	return m, nil
}

func (c *Client) listenBeside(ctx context.Context) (net.Listener, error) {
	lis, err := c.opts.network.Listen(ctx, net.JoinHostPort(c.opts.host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listen beside %s: %w", c.address, err)
	}
	return lis, nil
}

// hungOwner reports whether the port is held by a process of the cluster that
// has not renewed its lease for too long.
func (c *Client) hungOwner() bool {
	return slices.ContainsFunc(c.ownersOfPort(), func(r lease.Record) bool {
		return r.Expired(c.lease.Host(), c.opts.deposeAfter)
	})
}

// ownersOfPort returns the leases that were taken at the port, of any name, by
// processes that may still be there. What was deposed may hold the port still.
func (c *Client) ownersOfPort() (all []lease.Record) {
	records, _ := c.lease.All()
	for _, r := range records {
		for _, r := range []lease.Record{r, heldBefore(r, r.Ousted), heldBefore(r, r.Owner)} {
			if (r.Address == c.address || r.OwnsPort) && c.mayBeThere(r) {
				all = append(all, r)
			}
		}
	}
	return all
}

// heldBefore returns the record of somebody who led before r.
func heldBefore(r lease.Record, who lease.Holder) lease.Record {
	return lease.Record{
		Name: r.Name, Number: r.Number, Term: r.Term, Process: who.Process, Address: who.Address,
		OwnsPort: who.Owned, Renewed: who.Renewed, Valid: who.Valid, Boot: r.Boot,
	}
}

// mayBeThere reports whether a leadership may last, or its process at least
// live.
func (c *Client) mayBeThere(r lease.Record) bool {
	host := c.lease.Host()
	state := host.Look(r.Process)
	return !r.Vacant(host) && state != lease.Gone && (state != lease.Unknown || !r.Expired(host, unknownFor))
}

// describeHolder names the process that has a lease for people.
func (c *Client) describeHolder(r lease.Record) string {
	who := describe(&clusterclientv1.Peer{Pid: int64(r.Process.PID), Address: r.Address})
	if state := c.lease.Host().Look(r.Process); state == lease.Stopped {
		who += " (" + state.String() + ")"
	}
	return who
}
