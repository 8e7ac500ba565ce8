package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/leader"
)

// NewPaced returns an Upstream that probes at interval and waits no longer
// than timeout for the answer.
func NewPaced(c *clientv3.Client, interval, timeout time.Duration, opts ...Option) *Upstream {
	return newUpstream(c, pace{interval: interval, timeout: timeout, retry: 50 * time.Millisecond}, opts)
}

func (u *Upstream) Read(ctx context.Context, req GetRequest) (GetResponse, error) {
	return u.get(ctx, req)
}

func (u *Upstream) List(ctx context.Context, req ListRequest) (ListResponse, error) {
	return u.list(ctx, req)
}

var StatusOf = statusOf

// WatchAnswers does with an answer to a read, and with changes that follow it,
// what Watch does.
func WatchAnswers(ctx context.Context, read *etcdserverpb.RangeResponse, changes []*clientv3.Event, sink func(leader.Update)) error {
	w := &watch{u: answered(read), key: "k", sink: sink}
	if err := w.read(ctx); err != nil {
		return err
	}
	w.report(changes)
	return nil
}

// ListAnswer is what becomes of an answer to [MethodList].
func ListAnswer(ctx context.Context, read *etcdserverpb.RangeResponse) (ListResponse, error) {
	return answered(read).list(ctx, ListRequest{})
}

// answered returns an Upstream whose reads all have one answer.
func answered(read *etcdserverpb.RangeResponse) *Upstream {
	return &Upstream{client: &clientv3.Client{KV: clientv3.NewKVFromKVClient(answering{read: read}, nil)}, opts: newOptions([]Option{WithPrefix("/app/")})}
}

type answering struct {
	etcdserverpb.KVClient
	read *etcdserverpb.RangeResponse
}

func (a answering) Range(context.Context, *etcdserverpb.RangeRequest, ...grpc.CallOption) (*etcdserverpb.RangeResponse, error) {
	return a.read, nil
}
