package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Inspect tells what there is on a loopback port of this host, without
// joining anything: its owner, every name, and of each name what its leader
// knows, as far as q asks for it. Port 0 is the default port as for [Create].
// Of the options those that say how to reach others count.
//
// It fails with [ErrNoLeader] when nobody listens, or a process of ours that
// hangs, with [ErrForeignListener] when whoever listens is no cluster of ours,
// with [ErrPeerRefused], and when ctx ends, with an error that is ctx's. The
// result has what the leases in the runtime directory tell even then: the owner
// of the port that hangs, and names that are led beside it. A leader that does
// not answer is in the result, with its trouble.
func Inspect(ctx context.Context, port int, q inspect.Query, opts ...Option) (inspect.Cluster, error) {
	o, port, err := resolveOptions(port, opts)
	if err != nil {
		return inspect.Cluster{}, &Error{Code: errs.Invalid, Op: "inspect", Cause: err}
	}
	c := newClient("", port, o) // which takes no role
	if ctx.Err() != nil {
		return inspect.Cluster{}, c.ended(ctx, "inspect", "", nil)
	}
	cl := inspect.Cluster{Address: c.address, Names: []inspect.Name{}}
	n, err := c.inspectAt(ctx, "inspect", c.address, request(q))
	if err == nil {
		cl.Owner, cl.Names = n.Self, n.Names
	} else if owners := c.ownersOfPort(); len(owners) > 0 && errors.Is(err, errs.ErrForeignListener) {
		cl.Owner = holderInfo(owners[0].Holder())
		err = c.notAnswering("inspect", owners, errors.Unwrap(err))
	}
	c.addLeases(&cl, err)
	var others sync.WaitGroup
	for i := range cl.Names {
		if name := &cl.Names[i]; name.State == inspect.Led && name.Leadership == nil && name.Trouble == "" {
			others.Go(func() { c.inspectOther(ctx, name, request(q)) })
		}
	}
	others.Wait()
	slices.SortFunc(cl.Names, func(a, b inspect.Name) int { return strings.Compare(a.Name, b.Name) })
	cl.At = time.Now()
	return cl, err
}

func request(q inspect.Query) *clusterclientv1.InspectRequest {
	return &clusterclientv1.InspectRequest{
		Followers: q.Followers, Keys: q.Keys, KeyPrefix: q.Prefix, KeyText: q.Text, StaleOnly: q.Stale,
		KeyLimit: uint32(max(0, min(q.Limit, math.MaxInt32))), //nolint:gosec // it fits
	}
}

// Explain tells how the value of key comes to the subscribers of the cluster
// called name on a loopback port of this host, as [Client.Explain] does, but
// without joining it. It fails with [ErrInvalid] for what cannot be a key, with
// [ErrNoLeader] when nobody leads the name, and as [Inspect] does.
func Explain(ctx context.Context, name string, port int, key string, opts ...Option) (inspect.Explanation, error) {
	o, port, err := resolve("explain", name, port, opts)
	if err != nil {
		return inspect.Explanation{}, err
	}
	if err := wire.CheckKey(key); err != nil {
		return inspect.Explanation{}, &Error{Code: errs.Invalid, Op: "explain", Name: name, Cause: err}
	}
	c := newClient(name, port, o) // which takes no role
	if ctx.Err() != nil {
		return inspect.Explanation{}, c.ended(ctx, "explain", key, nil)
	}
	n, _, err := c.find(ctx, "explain", &clusterclientv1.InspectRequest{Key: key, Followers: true})
	if err != nil {
		return inspect.Explanation{}, errs.In("explain", key, err)
	}
	if n.Explanation == nil || n.Explanation.Name != name {
		return inspect.Explanation{}, &Error{Code: errs.NoLeader, Op: "explain", Name: name, Key: key, Cause: fmt.Errorf("pid %d: %s %s", n.Self.PID, n.Names[0].State, n.Names[0].Reason)}
	}
	return *n.Explanation, nil
}

// inspectOther asks the leader of a name that somebody else told of.
func (c *Client) inspectOther(ctx context.Context, name *inspect.Name, req *clusterclientv1.InspectRequest) {
	n, err := c.inspectAt(ctx, "inspect", name.Leader.Address, req)
	switch {
	case err != nil:
		name.Trouble, name.Refused = causeOf(err), errors.Is(err, errs.ErrPeerRefused)
	case len(n.Names) == 0 || n.Names[0].Name != name.Name:
		name.Trouble = fmt.Sprintf("pid %d at %s does not lead the name", n.Self.PID, name.Leader.Address)
	default:
		l := name.Lease
		*name = n.Names[0]
		name.Lease = l
	}
}

// Inspect returns what the leader of this client's name knows, as far as q
// asks for it. It fails with [ErrNoLeader] when there is no leader now, when ctx
// ends, with an error that is ctx's, and with [ErrClosed].
func (c *Client) Inspect(ctx context.Context, q inspect.Query) (inspect.Name, error) {
	if c.closed() {
		return inspect.Name{}, &Error{Code: errs.Closed, Op: "inspect", Name: c.name}
	}
	n, err := c.askLeader(ctx, "inspect", "", request(q))
	if err != nil {
		return inspect.Name{}, err
	}
	return n.Names[0], nil
}

// Explain tells how the value of key comes from the upstream to each of its
// subscribers on the host: whether the upstream is watched and vouches for the
// value, since when, in which revision the leader holds it, and what each
// process has of it. A key that nobody subscribes to is explained as
// unwatched. When there is no leader to ask, the explanation says why and is
// left with what this process itself holds. So it is when ctx ends before the
// leader has answered; the error is ctx's then. It fails with [ErrInvalid] for
// what cannot be a key, and with [ErrClosed].
func (c *Client) Explain(ctx context.Context, key string) (inspect.Explanation, error) {
	if err := wire.CheckKey(key); err != nil {
		return inspect.Explanation{}, &Error{Code: errs.Invalid, Op: "explain", Name: c.name, Cause: err}
	}
	if c.closed() {
		return inspect.Explanation{}, &Error{Code: errs.Closed, Op: "explain", Name: c.name, Key: key}
	}
	e := inspect.Explanation{
		Name: c.name, Key: key, At: time.Now(), Subscribers: []inspect.Subscriber{},
		Watch: inspect.Watch{State: inspect.Unwatched}, Value: inspect.Value{State: inspect.Unknown},
	}
	n, err := c.askLeader(ctx, "explain", key, &clusterclientv1.InspectRequest{Key: key, Followers: true})
	switch {
	case err != nil:
		e.Trouble = err.Error()
		if errors.Is(err, errs.ErrNoLeader) {
			err = nil
		}
	case n.Explanation != nil:
		e = *n.Explanation
	default:
		e.Trouble = fmt.Sprintf("pid %d: %s %s", n.Self.PID, n.Names[0].State, n.Names[0].Reason)
	}
	if h := c.driver.Holding(key); h.Key != nil {
		e.Here = &h
	}
	return e, err
}

// askLeader asks the leader that this client has a session with, for op.
func (c *Client) askLeader(ctx context.Context, op, key string, req *clusterclientv1.InspectRequest) (inspect.Node, error) {
	if ctx.Err() != nil {
		return inspect.Node{}, c.ended(ctx, op, key, nil)
	}
	conn, err := c.driver.Conn()
	if err != nil {
		return inspect.Node{}, &Error{Code: errs.NoLeader, Op: op, Name: c.name, Key: key, Cause: err}
	}
	asking, cancel := whileAlive(ctx, inspectTimeout, c.driver.LastBeat)
	defer cancel()
	n, err := askNode(asking, conn, req)
	switch {
	case err != nil && isOver(ctx):
		return n, c.ended(ctx, op, key, fmt.Errorf("the leader, %s, has not answered", c.status.whoLeads()))
	case err != nil:
		return n, &Error{Code: errs.NoLeader, Op: op, Name: c.name, Key: key, Cause: err}
	}
	return n, nil
}
