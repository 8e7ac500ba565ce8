package clusterclient

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Inspect answers whoever may connect: this client's own name and, at the
// owner of the port, where the others are led.
func (s *server) Inspect(ctx context.Context, req *clusterclientv1.InspectRequest) (*clusterclientv1.InspectResponse, error) {
	if !s.enter() {
		return nil, errStopped
	}
	defer s.wg.Done()
	end, err := begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	report, err := json.Marshal(s.node(ctx, req))
	if err != nil {
		return nil, status.Errorf(codes.Internal, "encode the report: %v", err)
	}
	return &clusterclientv1.InspectResponse{Report: report}, nil
}

// begin lets a call that needs no session in, and with it the connection that
// it came over, which stays until end at least.
func begin(ctx context.Context) (end func(), err error) {
	from := peerConnOf(ctx)
	key, err := from.visits()
	if err != nil {
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	return func() { from.exits(key) }, nil
}

func (s *server) node(ctx context.Context, req *clusterclientv1.InspectRequest) inspect.Node {
	n := inspect.Node{Self: leader.PeerInfo(s.c.self()), Port: s.c.address, OwnsPort: s.dir.isOwner()}
	own, ldr := s.inspectOwn()
	if ldr != nil {
		s.inspectLeader(ctx, ldr, req, &n, &own)
	}
	n.Names = append([]inspect.Name{own}, s.dir.inspect()...)
	return n
}

// inspectOwn returns the name that this server serves, and its leader if that
// is ready.
func (s *server) inspectOwn() (inspect.Name, *leader.Leader) {
	state, _ := s.getState()
	own := inspect.Name{
		Name: s.c.name, State: inspect.Opening, Identity: leader.Shown(s.c.opts.identity),
		Term: s.term(), Leader: leader.PeerInfo(s.c.self()),
	}
	switch {
	case state.leaving:
		own.State = inspect.Leaving
	case state.failed != nil:
		own.State, own.Reason = inspect.Failed, state.failed.Error()
	case state.leader == nil:
		own.Reason = state.waiting
	default:
		own.State = inspect.Led
	}
	return own, state.leader
}

func (s *server) inspectLeader(ctx context.Context, ldr *leader.Leader, req *clusterclientv1.InspectRequest, n *inspect.Node, own *inspect.Name) {
	report := ldr.Inspect()
	if req.GetFollowers() && req.GetKey() == "" {
		answers := ldr.Ask(ctx, "")
		for i := range report.Followers {
			f := &report.Followers[i]
			f.Holding, f.Trouble = answers[f.Instance].Holding, answers[f.Instance].Trouble()
		}
	}
	if req.GetKeys() {
		report.Keys, report.Matched = ldr.Keys(inspect.Query{
			Prefix: req.GetKeyPrefix(), Text: req.GetKeyText(), Stale: req.GetStaleOnly(), Limit: int(req.GetKeyLimit()),
		})
	}
	if req.GetKey() != "" {
		n.Explanation = s.explain(ctx, ldr, req)
	}
	report.Rejected, report.SocketTrouble = s.c.rejected.all(), s.c.socketTrouble()
	own.Leadership = &report
}

func (s *server) explain(ctx context.Context, ldr *leader.Leader, req *clusterclientv1.InspectRequest) *inspect.Explanation {
	e := ldr.Explain(req.GetKey())
	e.Name = s.c.name
	var instances []string
	for _, sub := range e.Subscribers {
		instances = append(instances, sub.Instance)
	}
	if !req.GetFollowers() || len(instances) == 0 {
		return &e
	}
	answers := ldr.Ask(ctx, req.GetKey(), instances...)
	for i := range e.Subscribers {
		sub := &e.Subscribers[i]
		sub.Holding, sub.Trouble = answers[sub.Instance].Holding, answers[sub.Instance].Trouble()
	}
	return &e
}

// inspect returns the names that others lead, or are about to.
func (d *directory) inspect() []inspect.Name {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []inspect.Name
	for name, e := range d.entries {
		n := inspect.Name{
			Name: name, State: inspect.Granted, Identity: leader.Shown(e.identity),
			Term: e.term, Leader: leader.PeerInfo(e.leader), Reason: "about to be led",
		}
		if e.led {
			n.State, n.Reason = inspect.Led, ""
		}
		names = append(names, n)
	}
	slices.SortFunc(names, func(a, b inspect.Name) int { return strings.Compare(a.Name, b.Name) })
	return names
}
