package main

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// startEtcdClient gets every update of the key.
func startEtcdClient(at etcdTarget) (role, error) {
	s := newSubscriber()
	watch := watchDirect
	if at.Port != 0 {
		watch = watchCluster
	}
	stop, err := watch(at, s.got)
	return role{close: stop, ops: map[string]op{"take": opOf(s.take)}}, err
}

// watchDirect has a client and a watch of its own.
func watchDirect(at etcdTarget, got func([]byte)) (func() error, error) {
	client, err := etcdClientOf(at.Address)
	if err != nil {
		return nil, err
	}
	updates := client.Watch(context.Background(), etcdKey, clientv3.WithCreatedNotify())
	if created, ok := <-updates; !ok || created.Err() != nil {
		return nil, errors.Join(fmt.Errorf("watch: %w", created.Err()), client.Close())
	}
	go func() {
		for batch := range updates {
			for _, e := range batch.Events {
				got(e.Kv.Value)
			}
		}
	}()
	return client.Close, nil
}

// watchCluster shares one with the other processes.
func watchCluster(at etcdTarget, got func([]byte)) (func() error, error) {
	c, err := join(at.Port, func(context.Context) (leader.Upstream, error) {
		client, err := etcdClientOf(at.Address)
		if err != nil {
			return nil, err
		}
		return etcd.New(client, etcd.WithOwnedClient()), nil
	})
	if err != nil {
		return nil, err
	}
	s, err := c.Subscribe(context.Background(), etcdKey)
	if err == nil {
		_, err = s.Next(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	go func() {
		for v, err := range s.Values(context.Background()) {
			if err == nil {
				got(v.Data)
			}
		}
	}()
	return c.Close, nil
}
