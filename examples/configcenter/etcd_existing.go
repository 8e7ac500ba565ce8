package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// watchersMetric is etcd's count of the watches that it serves now.
const watchersMetric = "etcd_debugging_mvcc_watcher_total"

// useEtcd makes a center of an etcd that runs already. It does not say how
// many connections it has, and others may use it as well; so the workers reach
// it through a relay that counts theirs, and its figure of watchers is taken
// relative to what it was before the workers came. The supervisor's own client
// goes past the relay and watches nothing.
func useEtcd(ctx context.Context, address string) (_ *center, err error) {
	before, err := watchersOf(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("-etcd %s: %w", address, err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop()})
	if err != nil {
		return nil, fmt.Errorf("-etcd %s: %w", address, err)
	}
	r, err := newRelay(ctx, address)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return &center{
		endpoint: r.address(), client: client,
		connections: r.count,
		watchers: func(ctx context.Context) (int, error) {
			n, err := watchersOf(ctx, address)
			return n - before, err
		},
		close: func() error { return errors.Join(r.close(), client.Close()) },
	}, nil
}

// watchersOf asks etcd's page of metrics.
func watchersOf(ctx context.Context, address string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if figure, ok := strings.CutPrefix(lines.Text(), watchersMetric+" "); ok {
			n, err := strconv.ParseFloat(figure, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("%s does not tell %s", req.URL, watchersMetric)
}
