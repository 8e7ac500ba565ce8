package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/leader"
)

// The methods that every process of the cluster can invoke. Both are
// idempotent, and both read what etcd has agreed on now.
const (
	MethodGet  = "etcd.Get"  // GetRequest -> GetResponse
	MethodList = "etcd.List" // ListRequest -> ListResponse
)

// A GetRequest asks for the value of a key.
type GetRequest struct {
	Key string `json:"key"`
}

// A GetResponse is the value of a key. Found is false when it does not exist.
type GetResponse struct {
	Data    []byte `json:"data,omitempty"`
	Version string `json:"version,omitempty"`
	Found   bool   `json:"found"`
}

// A ListRequest asks for the keys that begin with Prefix, in order. A Limit of
// zero means all of them.
type ListRequest struct {
	Prefix string `json:"prefix"`
	Limit  int64  `json:"limit,omitempty"`
}

// A ListResponse is the keys and values asked for. More is true when Limit
// left some out.
type ListResponse struct {
	Entries []Entry `json:"entries"`
	More    bool    `json:"more,omitempty"`
}

// An Entry is a key, without what [WithPrefix] put before it, and its value.
type Entry struct {
	Key     string `json:"key"`
	Data    []byte `json:"data,omitempty"`
	Version string `json:"version"`
}

// RegisterMethods registers [MethodGet] and [MethodList].
func (u *Upstream) RegisterMethods(r *leader.Registry) {
	leader.Handle(r, MethodGet, u.get, leader.Idempotent())
	leader.Handle(r, MethodList, u.list, leader.Idempotent())
}

func (u *Upstream) get(ctx context.Context, req GetRequest) (GetResponse, error) {
	resp, err := u.client.Get(ctx, u.opts.prefix+req.Key)
	if err != nil {
		return GetResponse{}, statusOf(fmt.Sprintf("etcd: get %q", req.Key), err)
	}
	if len(resp.Kvs) == 0 {
		return GetResponse{}, nil
	}
	kv := resp.Kvs[0]
	return GetResponse{Data: kv.Value, Version: version(kv), Found: true}, nil
}

func (u *Upstream) list(ctx context.Context, req ListRequest) (ListResponse, error) {
	if req.Limit < 0 {
		return ListResponse{}, status.Errorf(codes.InvalidArgument, "etcd: list %q: limit %d is negative", req.Prefix, req.Limit)
	}
	resp, err := u.client.Get(ctx, u.opts.prefix+req.Prefix, clientv3.WithPrefix(), clientv3.WithLimit(req.Limit))
	if err != nil {
		return ListResponse{}, statusOf(fmt.Sprintf("etcd: list %q", req.Prefix), err)
	}
	entries := make([]Entry, 0, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		key := strings.TrimPrefix(string(kv.Key), u.opts.prefix)
		entries = append(entries, Entry{Key: key, Data: kv.Value, Version: version(kv)})
	}
	return ListResponse{Entries: entries, More: resp.More}, nil
}

// statusOf turns err into a status, so that the caller in another process sees
// the code that etcd gave.
func statusOf(op string, err error) error {
	code := status.FromContextError(err).Code()
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		code = e.Code()
	} else if s, ok := status.FromError(err); ok {
		code = s.Code()
	}
	return status.Errorf(code, "%s: %v", op, err)
}
