package clusterclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// inspectTimeout bounds how long one process may take to tell what it
	// knows. A leader waits a second for its followers.
	inspectTimeout = 3 * time.Second

	// stoppedTimeout is the same for a process that is stopped, if the system
	// is to be believed.
	stoppedTimeout = 300 * time.Millisecond

	// busyTimeout is the same for one that goes on renewing its lease: it, or
	// its host, is busy.
	busyTimeout = 5 * inspectTimeout
)

// find asks the leader of this client's name, wherever that is, and returns
// where it was.
func (c *Client) find(ctx context.Context, op string, req *clusterclientv1.InspectRequest) (n inspect.Node, address string, err error) {
	led, _ := c.lease.Read()
	if address, ok := c.elsewhere(led); ok {
		if n, err := c.inspectAt(ctx, op, address, req); err == nil && n.Names[0].Name == c.name {
			return n, address, nil
		}
	}
	n, err = c.inspectAt(ctx, op, c.address, req)
	if err != nil {
		return n, c.address, c.ownerSilent(op, err)
	}
	i := slices.IndexFunc(n.Names, func(have inspect.Name) bool { return have.Name == c.name })
	switch {
	case i < 0:
		return n, "", &Error{Code: errs.NoLeader, Op: op, Name: c.name, Cause: fmt.Errorf("pid %d, which owns the port, knows of no leader", n.Self.PID)}
	case i == 0:
		return n, c.address, nil
	}
	if address = n.Names[i].Leader.Address; address == "" {
		return n, "", &Error{Code: errs.NoLeader, Op: op, Name: c.name, Cause: errors.New(describe(&clusterclientv1.Peer{Pid: int64(n.Names[i].Leader.PID)}) + " is about to lead it")}
	}
	n, err = c.inspectAt(ctx, op, address, req)
	return n, address, err
}

// ownerSilent says of a port whose owner does not answer that it is no
// stranger's, if that is so.
func (c *Client) ownerSilent(op string, err error) error {
	owners := c.ownersOfPort()
	if len(owners) == 0 || !errors.Is(err, errs.ErrForeignListener) {
		return err
	}
	return c.notAnswering(op, owners, &silentError{errors.Unwrap(err)})
}

// A silentError is what came of asking a process of the cluster that hangs.
type silentError struct{ error }

// leasesAt returns the leases of whoever listens at address.
func (c *Client) leasesAt(address string) []lease.Record {
	if address == c.address {
		return c.ownersOfPort()
	}
	records, _ := c.lease.All()
	return slices.DeleteFunc(records, func(r lease.Record) bool { return r.Address != address })
}

// patience returns how long to wait for whoever listens at address, if no lease
// of theirs is renewed meanwhile.
func (c *Client) patience(address string) time.Duration {
	leases := c.leasesAt(address)
	for _, r := range leases {
		if c.lease.Host().Look(r.Process) == lease.Stopped {
			return stoppedTimeout
		}
	}
	if len(leases) == 0 { // who may be well, and be about to refuse
		return max(inspectTimeout, c.opts.limits.patience())
	}
	return inspectTimeout
}

// patiently returns a context for asking whoever listens at address.
func (c *Client) patiently(ctx context.Context, address string) (context.Context, context.CancelFunc) {
	return whileAlive(ctx, c.patience(address), func() (renewed time.Duration) {
		for _, r := range c.leasesAt(address) {
			renewed = max(renewed, r.Renewed)
		}
		return renewed
	})
}

// whileAlive returns a context that ends after busyTimeout, and before that when
// there has been no sign of life for as long as patience. sign returns when the
// newest one was, on any clock.
func whileAlive[T comparable](ctx context.Context, patience time.Duration, sign func() T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, busyTimeout)
	ctx, end := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(patience)
		defer tick.Stop()
		for last := sign(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := sign()
			if now == last {
				end(context.DeadlineExceeded)
				return
			}
			last = now
		}
	})
	return ctx, func() {
		cancel()
		watching.Wait()
	}
}

// inspectAt asks whoever listens at address.
func (c *Client) inspectAt(ctx context.Context, op, address string, req *clusterclientv1.InspectRequest) (inspect.Node, error) {
	var n inspect.Node
	err := c.visit(ctx, op, address, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		n, err = askNode(ctx, conn, req)
		return err
	})
	return n, err
}

// visit connects to address for ask alone, and explains what went wrong.
func (c *Client) visit(ctx context.Context, op, address string, ask func(context.Context, grpc.ClientConnInterface) error) error {
	asking, cancel := c.patiently(ctx, address)
	defer cancel()
	err := c.visitFor(asking, op, address, ask)
	if errors.Is(err, errs.ErrForeignListener) && isOver(ctx) { // the caller's time, which says nothing of who listens
		return c.ended(ctx, op, "", fmt.Errorf("%s has not answered", address))
	}
	return err
}

// visitFor is visit until ctx ends, which is as long as whoever listens may take.
func (c *Client) visitFor(ctx context.Context, op, address string, ask func(context.Context, grpc.ClientConnInterface) error) error {
	fail := func(code errs.Code, cause error) error { return &Error{Code: code, Op: op, Name: c.name, Cause: cause} }
	raw, err := c.dial(ctx, address)
	switch said, isSaid := errors.AsType[*Error](err); {
	case errors.Is(err, errNobody):
		return fail(errs.NoLeader, err)
	case isSaid:
		return errs.In(op, "", said)
	case err != nil:
		return fail(errs.ForeignListener, fmt.Errorf("%s: %w", address, err))
	}
	defer func() { _ = raw.Close() }() // if gRPC never came to use it
	conn, err := clientConn(busyTimeout, func(context.Context) (net.Conn, error) { return raw, nil })
	if err != nil {
		return fail(errs.Unspecified, err)
	}
	defer func() { _ = conn.Close() }()
	if err = ask(ctx, conn); err == nil {
		return nil
	}
	if said, ok := errors.AsType[*Error](c.refusedBy(address, raw.Refused())); ok {
		return errs.In(op, "", said)
	}
	if ctx.Err() != nil {
		return fail(errs.ForeignListener, fmt.Errorf("%s does not answer: %w", address, context.Cause(ctx)))
	}
	if status.Code(err) == codes.Unimplemented {
		return fail(errs.ForeignListener, fmt.Errorf("%s is no cluster of ours, or one of an older build: %w", address, err))
	}
	return fail(errs.ForeignListener, fmt.Errorf("%s does not answer as a cluster does: %w", address, err))
}

// isOver reports whether ctx has ended, or does at this moment, which whoever
// was asked may have noticed first.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// ended returns the error of op for a context that is over, and what it was
// waiting for, if that is known.
func (c *Client) ended(ctx context.Context, op, key string, waiting error) error {
	<-ctx.Done() // at once, or any moment now
	e := errs.FromContext(ctx, op, key, waiting)
	e.Name = c.name
	return e
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
