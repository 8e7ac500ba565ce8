package clusterclient

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/internal/peercred"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Resign makes this client give the leadership up, when a process of its own
// user asks for it.
func (s *server) Resign(ctx context.Context, req *clusterclientv1.ResignRequest) (*clusterclientv1.ResignResponse, error) {
	if !s.enter() {
		return nil, errStopped
	}
	defer s.wg.Done()
	end, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if p := peerConnOf(ctx); p != nil && p.who.UID != peercred.Self().UID {
		return nil, status.Errorf(codes.PermissionDenied, "only uid %d may change who leads, not uid %d", peercred.Self().UID, p.who.UID)
	}
	st, leading, _, _ := s.c.status.read()
	if leading == nil || req.GetName() != s.c.name {
		return nil, status.Errorf(codes.FailedPrecondition, "pid %d does not lead %q", st.PID, req.GetName())
	}
	if req.GetForce() {
		leading.end(&deposedError{s.operator(ctx)})
		return &clusterclientv1.ResignResponse{Term: leading.Term()}, nil
	}
	if st := leading.Stats(); st.Candidates <= 1 { // the leader itself
		return nil, status.Errorf(codes.FailedPrecondition, "none of the %d followers could lead", len(st.Followers)-1)
	}
	if err := s.c.resign(ctx, leading); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return &clusterclientv1.ResignResponse{Term: leading.Term()}, nil
}

// operator names the process that asks.
func (s *server) operator(ctx context.Context) string {
	if p := peerConnOf(ctx); p != nil {
		return p.who.Process(p.who.PID).String()
	}
	return "this process"
}
