package clusterclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// inspectTimeout bounds how long one process may take to tell what it knows.
// A leader waits a second for its followers.
const inspectTimeout = 3 * time.Second

// Inspect tells what there is on a loopback port of this host, without
// joining anything: its owner, every name, and of each name what its leader
// knows, with all keys and what the followers hold. Port 0 is the default port
// as for [Create]. Of the options those that say how to reach others count.
//
// It fails with [ErrNoLeader] when nobody listens and with
// [ErrForeignListener] when whoever does is no cluster of ours, or does not
// answer. A leader other than the port's owner that does not answer is in the
// result, with its trouble.
func Inspect(ctx context.Context, port int, opts ...Option) (inspect.Cluster, error) {
	o, port, err := resolve("inspect", port, opts)
	if err != nil {
		return inspect.Cluster{}, err
	}
	c := newClient("", port, o) // which takes no role
	address := c.address
	req := &clusterclientv1.InspectRequest{Keys: true, Followers: true}
	n, err := c.inspectAt(ctx, address, req)
	if err != nil {
		return inspect.Cluster{Address: address, At: time.Now()}, err
	}
	var others sync.WaitGroup
	for i := range n.Names {
		if name := &n.Names[i]; name.State == inspect.Led && name.Leadership == nil {
			others.Go(func() { c.inspectOther(ctx, name, req) })
		}
	}
	others.Wait()
	slices.SortFunc(n.Names, func(a, b inspect.Name) int { return strings.Compare(a.Name, b.Name) })
	return inspect.Cluster{Address: address, At: time.Now(), Owner: n.Self, Names: n.Names}, nil
}

// Explain tells how the value of key comes to the subscribers of the cluster
// called name on a loopback port of this host, as [Client.Explain] does, but
// without joining it. It fails with [ErrNoLeader] when nobody leads the name,
// and as [Inspect] does.
func Explain(ctx context.Context, name string, port int, key string, opts ...Option) (inspect.Explanation, error) {
	o, port, err := resolve(name, port, opts)
	if err != nil {
		return inspect.Explanation{}, err
	}
	req := &clusterclientv1.InspectRequest{Key: key, Followers: true}
	c := newClient(name, port, o) // which takes no role
	n, err := c.inspectAt(ctx, c.address, req)
	if err != nil {
		return inspect.Explanation{}, err
	}
	i := slices.IndexFunc(n.Names, func(have inspect.Name) bool { return have.Name == name })
	if i < 0 {
		return inspect.Explanation{}, &Error{Code: errs.NoLeader, Op: "explain", Name: name, Key: key, Cause: fmt.Errorf("pid %d, which owns the port, knows of no leader", n.Self.PID)}
	}
	if i > 0 {
		if n, err = c.inspectAt(ctx, n.Names[i].Leader.Address, req); err != nil {
			return inspect.Explanation{}, err
		}
	}
	if n.Explanation == nil || n.Explanation.Name != name {
		return inspect.Explanation{}, &Error{Code: errs.NoLeader, Op: "explain", Name: name, Key: key, Cause: fmt.Errorf("pid %d: %s %s", n.Self.PID, n.Names[0].State, n.Names[0].Reason)}
	}
	return *n.Explanation, nil
}

// inspectOther asks the leader of a name that somebody else told of.
func (c *Client) inspectOther(ctx context.Context, name *inspect.Name, req *clusterclientv1.InspectRequest) {
	n, err := c.inspectAt(ctx, name.Leader.Address, req)
	switch {
	case err != nil:
		name.Trouble = err.Error()
	case len(n.Names) == 0 || n.Names[0].Name != name.Name:
		name.Trouble = fmt.Sprintf("pid %d at %s does not lead the name", n.Self.PID, name.Leader.Address)
	default:
		*name = n.Names[0]
	}
}

// inspectAt asks whoever listens at address.
func (c *Client) inspectAt(ctx context.Context, address string, req *clusterclientv1.InspectRequest) (inspect.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	var n inspect.Node
	err := c.visit(ctx, "inspect", address, func(conn grpc.ClientConnInterface) (err error) {
		n, err = askNode(ctx, conn, req)
		return err
	})
	return n, err
}

// visit connects to address for ask alone, and explains what went wrong.
func (c *Client) visit(ctx context.Context, op, address string, ask func(grpc.ClientConnInterface) error) error {
	fail := func(code errs.Code, cause error) error { return &Error{Code: code, Op: op, Name: c.name, Cause: cause} }
	raw, err := c.dial(ctx, address)
	switch final, isFinal := errors.AsType[*finalError](err); {
	case errors.Is(err, errNobody):
		return fail(errs.NoLeader, err)
	case isFinal:
		return final.err
	case err != nil:
		return fail(errs.ForeignListener, fmt.Errorf("%s: %w", address, err))
	}
	defer func() { _ = raw.Close() }() // if gRPC never came to use it
	conn, err := clientConn(func(context.Context) (net.Conn, error) { return raw, nil })
	if err != nil {
		return fail(errs.Unspecified, err)
	}
	defer func() { _ = conn.Close() }()
	if err = ask(conn); err == nil {
		return nil
	}
	if final, ok := errors.AsType[*finalError](c.refusedBy(address, raw.Refused())); ok {
		return final.err
	}
	if status.Code(err) == codes.Unimplemented {
		return fail(errs.ForeignListener, fmt.Errorf("%s is no cluster of ours, or one of an older build: %w", address, err))
	}
	return fail(errs.ForeignListener, fmt.Errorf("%s does not answer as a cluster does: %w", address, err))
}

// askNode asks the server at the other end of conn.
func askNode(ctx context.Context, conn grpc.ClientConnInterface, req *clusterclientv1.InspectRequest) (n inspect.Node, err error) {
	resp, err := clusterclientv1.NewClusterClientServiceClient(conn).Inspect(ctx, req, grpc.ForceCodecV2(wire.Codec{}))
	if err != nil {
		return n, err
	}
	if err := json.Unmarshal(resp.GetReport(), &n); err != nil {
		return n, fmt.Errorf("the report does not decode: %w", err)
	}
	if len(n.Names) == 0 {
		return n, errors.New("the report is empty")
	}
	return n, nil
}

// Inspect returns what the leader of this client's name knows: its followers
// and what they hold, and the keys. It fails with [ErrNoLeader] when there is
// no leader now.
func (c *Client) Inspect(ctx context.Context) (inspect.Name, error) {
	n, err := c.askLeader(ctx, &clusterclientv1.InspectRequest{Keys: true, Followers: true})
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
// left with what this process itself holds.
func (c *Client) Explain(ctx context.Context, key string) (inspect.Explanation, error) {
	if key == "" {
		return inspect.Explanation{}, &Error{Code: errs.Invalid, Op: "explain", Name: c.name, Cause: errors.New("a key of 0 bytes")}
	}
	if c.closed() {
		return inspect.Explanation{}, &Error{Code: errs.Closed, Op: "explain", Name: c.name, Key: key}
	}
	e := inspect.Explanation{
		Name: c.name, Key: key, At: time.Now(), Subscribers: []inspect.Subscriber{},
		Watch: inspect.Watch{State: inspect.Unwatched}, Value: inspect.Value{State: inspect.Unknown},
	}
	n, err := c.askLeader(ctx, &clusterclientv1.InspectRequest{Key: key, Followers: true})
	switch {
	case err != nil:
		e.Trouble = err.Error()
	case n.Explanation != nil:
		e = *n.Explanation
	default:
		e.Trouble = fmt.Sprintf("pid %d: %s %s", n.Self.PID, n.Names[0].State, n.Names[0].Reason)
	}
	if h := c.driver.Holding(key); h.Key != nil {
		e.Here = &h
	}
	return e, nil
}

// askLeader asks the leader that this client has a session with.
func (c *Client) askLeader(ctx context.Context, req *clusterclientv1.InspectRequest) (inspect.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	conn, err := c.driver.Conn()
	if err != nil {
		return inspect.Node{}, &Error{Code: errs.NoLeader, Op: "inspect", Name: c.name, Cause: err}
	}
	n, err := askNode(ctx, conn, req)
	if err != nil {
		return n, &Error{Code: errs.NoLeader, Op: "inspect", Name: c.name, Cause: err}
	}
	return n, nil
}

// ResignAt makes the leader of the cluster called name, on a loopback port of
// this host, give the leadership up, as [Client.Resign] does in its own
// process, and returns the term that ends, without waiting for the next one.
// With force calls under way are not waited for, and nobody else need be able
// to lead. Only the leader's own user may do it. It fails as [Inspect] does,
// and with a gRPC status when the leader says no. Of a leader that hangs it
// gets no answer: its followers replace that one by themselves.
func ResignAt(ctx context.Context, name string, port int, force bool, opts ...Option) (term uint64, err error) {
	o, port, err := resolve(name, port, opts)
	if err != nil {
		return 0, err
	}
	c := newClient(name, port, o) // which takes no role
	n, err := c.inspectAt(ctx, c.address, &clusterclientv1.InspectRequest{})
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(n.Names, func(have inspect.Name) bool { return have.Name == name })
	if i < 0 {
		return 0, &Error{Code: errs.NoLeader, Op: "resign", Name: name, Cause: fmt.Errorf("pid %d, which owns the port, knows of no leader", n.Self.PID)}
	}
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	var answer error // of the leader
	err = c.visit(ctx, "resign", n.Names[i].Leader.Address, func(conn grpc.ClientConnInterface) error {
		resp, err := clusterclientv1.NewClusterClientServiceClient(conn).
			Resign(ctx, &clusterclientv1.ResignRequest{Name: name, Force: force}, grpc.ForceCodecV2(wire.Codec{}))
		term = resp.GetTerm()
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.FailedPrecondition {
			answer, err = err, nil
		}
		return err
	})
	if answer != nil {
		err = &Error{Code: errs.Remote, Op: "resign", Name: name, Cause: answer}
	}
	return term, err
}
