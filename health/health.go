// Package health tells load balancers and orchestrators how clients are: as
// the health service of gRPC, with a service for each name, and over HTTP.
//
//	h := health.New(client)
//	healthpb.RegisterHealthServer(grpcServer, h)
//	http.Handle("/readyz", h.Ready())
//	http.Handle("/livez", h.Live())
package health

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
)

// lookEvery is how often a watcher of the gRPC service is told of a change.
const lookEvery = time.Second

// A Health tells how clients are. Its methods are safe for concurrent use.
type Health struct {
	healthpb.UnimplementedHealthServer
	clients    []*clusterclient.Client
	allowStale bool
}

// New returns the health of the clients, whose names must differ. A client is
// ready while it leads or follows and none of its values is stale; see
// [Health.AllowStale].
func New(clients ...*clusterclient.Client) *Health { return &Health{clients: clients} }

// AllowStale makes a client ready whose values are stale, for programs that
// rather go on with the last known ones. It returns h, and is called before h
// is used.
func (h *Health) AllowStale() *Health {
	h.allowStale = true
	return h
}

// Err returns why the client called name is not ready, nil when it is. An empty
// name stands for all.
func (h *Health) Err(name string) error {
	var all []error
	known := name == ""
	for _, c := range h.clients {
		if st := c.Status(); name == "" || st.Name == name {
			known = true
			all = append(all, h.unready(st))
		}
	}
	if !known {
		return errUnknown
	}
	return errors.Join(all...)
}

var errUnknown = errors.New("there is no such name")

func (h *Health) unready(st clusterclient.Status) error {
	switch {
	case st.Role == clusterclient.RoleNone:
		return fmt.Errorf("%s: no leader: %s", st.Name, st.Waiting)
	case h.allowStale:
		return nil
	case st.Role == clusterclient.RoleLeader && !st.Upstream.Open:
		return fmt.Errorf("%s: the upstream is not open: %s", st.Name, st.Upstream.Trouble)
	case st.Role == clusterclient.RoleLeader && st.Upstream.StaleKeys > 0:
		return fmt.Errorf("%s: the upstream does not vouch for %d of %d keys: %s", st.Name, st.Upstream.StaleKeys, st.Upstream.Watches, st.Upstream.Trouble)
	case st.StaleKeys > 0:
		return fmt.Errorf("%s: %d of %d keys are stale", st.Name, st.StaleKeys, st.Keys)
	}
	return nil
}

// Ready answers 200 while all clients are ready, and 503 with the reasons
// otherwise.
func (h *Health) Ready() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := h.Err(""); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ok")
	})
}

// Live answers 200 whatever the clients do: to start a process anew heals
// nothing that the cluster does not heal by itself.
func (h *Health) Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
}

func (h *Health) serving(name string) (healthpb.HealthCheckResponse_ServingStatus, bool) {
	switch err := h.Err(name); {
	case err == nil:
		return healthpb.HealthCheckResponse_SERVING, true
	case errors.Is(err, errUnknown):
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN, false
	}
	return healthpb.HealthCheckResponse_NOT_SERVING, true
}

// Check answers for the service that has the name of a client, or for all when
// it is empty. It fails with NotFound for a name that no client has.
func (h *Health) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	st, known := h.serving(req.GetService())
	if !known {
		return nil, status.Errorf(codes.NotFound, "%q: %v", req.GetService(), errUnknown)
	}
	return &healthpb.HealthCheckResponse{Status: st}, nil
}

// Watch sends the present answer and then each one that differs from the one
// before, until the caller ends it.
func (h *Health) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := healthpb.HealthCheckResponse_UNKNOWN
	for {
		if st, _ := h.serving(req.GetService()); st != last {
			last = st
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: st}); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}
