package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
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
