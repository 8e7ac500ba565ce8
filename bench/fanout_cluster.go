package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

// clusterFan is the library: a subscription, and a goroutine in its Next, for
// each key, or one reader of all keys.
type clusterFan struct {
	oneReader bool
	opts      []follower.SubscribeOption
}

func (clusterFan) source(_ string, keys int) (string, func(int, []byte) error, func() error, error) {
	up := &fanUpstream{sinks: make([]func(leader.Update), keys)}
	c, err := lead(up)
	if err != nil {
		return "", nil, nil, err
	}
	return c.Status().Address, up.update, c.Close, nil
}

func (f clusterFan) subscribe(address string, keys int, got func([]byte)) (func() error, error) {
	c, err := follow(address)
	if err != nil {
		return nil, err
	}
	if f.oneReader {
		if err := subscribeAll(c, keys, got, f.opts...); err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c.Close, nil
	}
	ready := make(chan error, keys)
	for k := range keys {
		go func() { ready <- subscribeKey(c, k, got, ready, f.opts...) }()
	}
	for range keys {
		if err := <-ready; err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c.Close, nil
}

// subscribeAll returns with all first values, and reads on until c is closed.
func subscribeAll(c *clusterclient.Client, keys int, got func([]byte), opts ...follower.SubscribeOption) error {
	names := make([]string, keys)
	for k := range names {
		names[k] = strconv.Itoa(k)
	}
	all, err := c.SubscribeAll(context.Background(), names, opts...)
	if err != nil {
		return err
	}
	for range keys { // nothing is updated before everybody is ready
		if _, err := all.Next(context.Background()); err != nil {
			return err
		}
	}
	go func() {
		for v, err := range all.Values(context.Background()) {
			if err == nil {
				got(v.Data)
			}
		}
	}()
	return nil
}

// subscribeKey is ready with the first value, and reads on until c is closed.
func subscribeKey(c *clusterclient.Client, key int, got func([]byte), ready chan<- error, opts ...follower.SubscribeOption) error {
	s, err := c.Subscribe(context.Background(), strconv.Itoa(key), opts...)
	if err != nil {
		return err
	}
	if _, err = s.Next(context.Background()); err != nil {
		return err
	}
	ready <- nil
	for {
		v, err := s.Next(context.Background())
		if err != nil {
			return nil // closed
		}
		got(v.Data)
	}
}

// fanUpstream has keys that are numbers.
type fanUpstream struct {
	mu    sync.Mutex // held while a sink is called
	sinks []func(leader.Update)
	seq   int
}

func (u *fanUpstream) update(key int, value []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sinks[key] == nil {
		return fmt.Errorf("key %d is not watched", key)
	}
	u.seq++
	u.sinks[key](leader.Update{Data: value, Version: strconv.Itoa(u.seq)})
	return nil
}

func (u *fanUpstream) Watch(ctx context.Context, name string, sink func(leader.Update)) error {
	key, err := strconv.Atoi(name)
	if err != nil || key < 0 || key >= len(u.sinks) {
		return fmt.Errorf("there is no key %q", name)
	}
	u.mu.Lock()
	u.sinks[key] = sink
	sink(leader.Update{Data: newValue(0)})
	u.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (u *fanUpstream) Close() error { return nil }
