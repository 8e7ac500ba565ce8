package main

import (
	"context"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	configcenterv1 "github.com/clusterclient/clusterclient/examples/configcenter/proto/configcenter/v1"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

//go:generate ../../bin/buf generate

// upstream is etcd with one service more. Embedding the adapter keeps all that
// it can do: watch, publish, register, and its own methods.
type upstream struct {
	*etcd.Upstream
	history history
}

// RegisterMethods says what the other processes may call.
func (u *upstream) RegisterMethods(r *leader.Registry) {
	u.Upstream.RegisterMethods(r)
	configcenterv1.RegisterHistoryServiceServer(r, &u.history)
	// It only reads: if the leader dies meanwhile, ask the next one.
	r.Configure(configcenterv1.HistoryService_CountWrites_FullMethodName, leader.Idempotent())
}

// history is an ordinary implementation of a gRPC service. It runs in the
// leader's process and uses the connection that is there already.
type history struct {
	configcenterv1.UnimplementedHistoryServiceServer
	client *clientv3.Client
}

func (h *history) CountWrites(ctx context.Context, req *configcenterv1.CountWritesRequest) (*configcenterv1.CountWritesResponse, error) {
	got, err := h.client.Get(ctx, prefix+req.GetKey())
	if err != nil {
		return nil, err
	}
	if len(got.Kvs) == 0 {
		return nil, status.Errorf(codes.NotFound, "key %q does not exist", req.GetKey())
	}
	return &configcenterv1.CountWritesResponse{Writes: got.Kvs[0].Version, Pid: int64(os.Getpid())}, nil
}

// ListValues goes back from one revision to the one before, and sends each
// value as soon as it has it.
func (h *history) ListValues(req *configcenterv1.ListValuesRequest, stream configcenterv1.HistoryService_ListValuesServer) error {
	var at []clientv3.OpOption // now, to begin with
	for sent := int32(0); req.GetLimit() == 0 || sent < req.GetLimit(); sent++ {
		got, err := h.client.Get(stream.Context(), prefix+req.GetKey(), at...)
		if err != nil {
			return err
		}
		if len(got.Kvs) == 0 {
			return nil // the key did not exist yet
		}
		kv := got.Kvs[0]
		if err := stream.Send(&configcenterv1.ListValuesResponse{Value: kv.Value, Revision: kv.ModRevision, Pid: int64(os.Getpid())}); err != nil {
			return err
		}
		if kv.Version == 1 {
			return nil // the write that created the key
		}
		at = []clientv3.OpOption{clientv3.WithRev(kv.ModRevision - 1)}
	}
	return nil
}
