package main

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// key is what the workers subscribe to, below prefix in etcd.
const (
	key    = "greeting"
	prefix = "/configcenter/"
)

// work is the whole of what a process does to share one connection to etcd
// with the others: join them, subscribe, and read values. Which process leads,
// and that this changes when one is killed, does not show here.
func work(ctx context.Context, endpoint string, port int, c *console) error {
	client, err := clusterclient.CreateContext(ctx, "configcenter", port,
		clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) {
			return dial(endpoint) // happens only in the process that leads
		}),
		clusterclient.WithIdentity(endpoint), // nothing is shared with users of another etcd
	)
	if err != nil {
		return err
	}
	defer client.Close()

	sub, err := client.Subscribe(ctx, key, follower.WithStates())
	if err != nil {
		return err
	}
	defer c.attach(ctx, client)() // reports the role and takes orders

	for value, err := range sub.Values(ctx) {
		if err != nil {
			return err
		}
		c.received(value)
	}
	return nil
}

// dial connects to etcd and adds this example's own service to what the
// adapter offers.
func dial(endpoint string) (leader.Upstream, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:         []string{endpoint},
		DialKeepAliveTime: 5 * time.Second,
		Logger:            zap.NewNop(), // what matters comes back as an error
	})
	if err != nil {
		return nil, err
	}
	up := etcd.New(client, etcd.WithPrefix(prefix), etcd.WithOwnedClient())
	return &upstream{Upstream: up, history: history{client: client}}, nil
}
