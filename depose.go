package clusterclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/lease"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// ResignAt makes the leader of the cluster called name, on a loopback port of
// this host, give the leadership up, as [Client.Resign] does in its own
// process, and returns the term that ends, without waiting for the next one.
// Only the leader's own user may do it. It fails as [Inspect] does, and with a
// gRPC status when the leader says no.
//
// With force calls under way are not waited for, and nobody else need be able
// to lead. A leader that hangs, and so does not answer, is deposed by its lease
// then: whoever can lead takes its place without waiting for
// [WithDeposeAfter]. That is done once the leader has not renewed the lease for
// 5 s, so that it notices before it acts when it goes on, and ResignAt waits
// for that. A leader that does renew its lease does not hang, and stays.
func ResignAt(ctx context.Context, name string, port int, force bool, opts ...Option) (term uint64, err error) {
	o, port, err := resolve("resign", name, port, opts)
	if err != nil {
		return 0, err
	}
	c := newClient(name, port, o) // which takes no role
	if ctx.Err() != nil {
		return 0, c.ended(ctx, "resign", "", nil)
	}
	term, err = c.resignRemote(ctx, force)
	if _, silent := errors.AsType[*silentError](err); force && (silent || errors.Is(err, errs.ErrForeignListener)) {
		return c.deposeHung(ctx, err)
	}
	return term, err
}

// resignRemote asks the leader to go.
func (c *Client) resignRemote(ctx context.Context, force bool) (term uint64, err error) {
	_, address, err := c.find(ctx, "resign", &clusterclientv1.InspectRequest{})
	if err != nil {
		return 0, err
	}
	var answer error // of the leader
	err = c.visit(ctx, "resign", address, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		resp, err := clusterclientv1.NewClusterClientServiceClient(conn).
			Resign(ctx, &clusterclientv1.ResignRequest{Name: c.name, Force: force}, grpc.ForceCodecV2(wire.Codec{}))
		term = resp.GetTerm()
		if code := status.Code(err); code == codes.PermissionDenied || code == codes.FailedPrecondition {
			answer, err = err, nil
		}
		return err
	})
	if answer != nil {
		err = &Error{Code: errs.Remote, Op: "resign", Name: c.name, Cause: answer}
	}
	return term, err
}

// deposeHung deposes a leader by its lease, since it does not answer.
func (c *Client) deposeHung(ctx context.Context, unanswered error) (term uint64, err error) {
	host := c.lease.Host()
	seen, err := c.lease.Read()
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w; and there is no lease to depose it by: %w", unanswered, err)
	case seen.DeposedBy != 0:
		return seen.Term - 1, nil
	case seen.Vacant(host), host.Look(seen.Process) == lease.Gone:
		return 0, unanswered
	}
	sure := time.NewTimer(seen.SureFor(host))
	defer sure.Stop()
	select {
	case <-sure.C:
	case <-ctx.Done():
		return 0, errors.Join(unanswered, context.Cause(ctx))
	}
	_, err = c.lease.Depose(seen)
	if err == nil || !errors.Is(err, lease.ErrChanged) {
		return seen.Term, err
	}
	if now, err := c.lease.Read(); err == nil && now.Term > seen.Term && now.Number > seen.Number {
		return seen.Term, nil // somebody was faster
	}
	return 0, fmt.Errorf("%w; but it has renewed its lease meanwhile, so it does not hang: look what it is busy with, or end pid %d", unanswered, seen.Process.PID)
}
