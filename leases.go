package clusterclient

import (
	"errors"
	"slices"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
)

// addLeases adds to a cluster what the leases tell of it: names whose leader
// nobody else told of, and to each name its lease. unanswered is why the owner
// of the port told nothing; nil when it did.
func (c *Client) addLeases(cl *inspect.Cluster, unanswered error) {
	records, _ := c.lease.All()
	for _, r := range records {
		holder := r.Holder()
		if r.DeposedBy != 0 {
			holder = r.Ousted
		}
		i := slices.IndexFunc(cl.Names, func(n inspect.Name) bool { return n.Name == r.Name })
		switch info := c.leaseInfo(r, holder); {
		case r.Boot != c.lease.Host().Boot || r.Released && r.DeposedBy == 0:
		case i >= 0 && (cl.Names[i].Term >= r.Term || info.State != inspect.Held):
			cl.Names[i].Lease = info
		case i >= 0:
			cl.Names[i] = c.nameByLease(r, holder, info, unanswered)
		case info.Process != lease.Gone.String():
			cl.Names = append(cl.Names, c.nameByLease(r, holder, info, unanswered))
		}
	}
}

// nameByLease returns what a lease tells of a name whose leader was not heard.
func (c *Client) nameByLease(r lease.Record, holder lease.Holder, info *inspect.Lease, unanswered error) inspect.Name {
	n := inspect.Name{Name: r.Name, State: inspect.Led, Term: r.Term, Leader: holderInfo(holder), Lease: info}
	switch {
	case r.DeposedBy != 0:
		n.State, n.Reason = inspect.Vacant, "its leader hangs and was deposed by an operator; nobody that could lead has taken its place yet"
	case c.lease.Host().Look(holder.Process) == lease.Stopped:
		n.Trouble = lease.Stopped.String()
	case unanswered != nil && r.Address == c.address:
		n.Trouble, n.Refused = causeOf(unanswered), errors.Is(unanswered, errs.ErrPeerRefused)
	}
	return n
}

// causeOf is what an error says beyond what it was that failed.
func causeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Cause != nil {
		return e.Cause.Error()
	}
	return err.Error()
}

func holderInfo(h lease.Holder) inspect.Peer {
	return inspect.Peer{PID: h.Process.PID, Address: h.Address}
}

// leaseInfo returns a lease as it is shown.
func (c *Client) leaseInfo(r lease.Record, holder lease.Holder) *inspect.Lease {
	host := c.lease.Host()
	state := inspect.Held
	switch {
	case r.DeposedBy != 0:
		state = inspect.Deposed
	case r.Vacant(host):
		state = inspect.Released
	case r.Expired(host, 0):
		state = inspect.Expired
	}
	renewed := time.Now().Add(holder.Renewed - host.Now())
	return &inspect.Lease{
		State: state, Term: r.Term, PID: holder.Process.PID, Address: holder.Address,
		Process: host.Look(holder.Process).String(), Renewed: renewed, Expires: renewed.Add(holder.Valid),
	}
}
