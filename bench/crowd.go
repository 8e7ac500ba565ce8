package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/leader"
)

const (
	hotKey       = "hot"
	coldBytes    = 100 // of each value of any other key
	hotReaders   = 10
	joinAtOnce   = 16 // clients that are made at the same time
	joinPatience = 50 * time.Second
)

// crowdUpstream has any number of keys that never change, and a hot one.
type crowdUpstream struct {
	*echoUpstream
	mu  sync.Mutex // held while hot is called
	hot func(leader.Update)
	seq int64

	cold []byte // the value of all keys at first
}

// StartWatch takes no goroutine, as that of an adapter for which it is worth
// while.
func (u *crowdUpstream) StartWatch(key string, sink leader.Sink) (stop func()) {
	if key == hotKey {
		u.mu.Lock()
		u.hot = sink.Report
		u.mu.Unlock()
	}
	sink.Report(leader.Update{Data: u.cold, Version: key})
	return func() { sink.End(nil) }
}

func (u *crowdUpstream) update() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hot == nil {
		return errors.New("nobody watches the hot key")
	}
	u.seq++
	u.hot(leader.Update{Data: newValue(u.seq)[:coldBytes], Version: strconv.FormatInt(u.seq, 10)})
	return nil
}

// footprint is what a process has used so far, and what it holds.
type footprint struct {
	Processor time.Duration `json:"processor"`
	Allocs    uint64        `json:"allocs"`
	Held      uint64        `json:"held"` // bytes: what is reachable, and stacks
}

// footprintOp collects first, so that what it tells is not what happens to be
// left over.
func footprintOp(none) (f footprint, err error) {
	runtime.GC()
	runtime.GC() // the first one leaves what was in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.Allocs, f.Held = m.Mallocs, m.HeapAlloc+m.StackInuse
	f.Processor, err = processorTime()
	return f, err
}

func (p *process) footprint(l *lab) (f footprint, err error) {
	return f, p.do(l.ctx, "footprint", none{}, &f)
}

// startCrowdLeader leads a cluster with a crowdUpstream.
func startCrowdLeader(none) (role, error) {
	up := &crowdUpstream{echoUpstream: newEchoUpstream(), cold: newValue(0)[:coldBytes]}
	c, err := lead(up)
	if err != nil {
		return role{}, err
	}
	alone := c.Status().Followers
	return role{info: c.Status().Address, close: c.Close, ops: map[string]op{
		"footprint": opOf(footprintOp),
		"alone": opOf(func(none) (none, error) {
			return none{}, untilTrue(func() bool {
				st := c.Status()
				return st.Followers == alone && st.Upstream.Watches == 0
			})
		}),
		"update": opOf(func(w updateWork) (int, error) { return up.run(w) }),
	}}, nil
}

// untilTrue looks again and again.
func untilTrue(ok func() bool) error {
	for late := time.Now().Add(joinPatience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			return errors.New("followers that have left are still there")
		}
	}
	return nil
}

// run updates the hot key at a rate and returns how often.
func (u *crowdUpstream) run(w updateWork) (n int, err error) {
	start := time.Now()
	for time.Since(start) < w.Duration || n < fewest {
		if err := u.update(); err != nil {
			return n, err
		}
		n++
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))))
	}
	return n, nil
}

// A crowd is followers in one process.
type crowd struct {
	address string
	reads   *subscriber
	clients []*clusterclient.Client
}

// crowdWork says how many followers join, how many keys each of them
// subscribes to, and how many of them read the hot one.
type crowdWork struct {
	Clients int `json:"clients"`
	Keys    int `json:"keys,omitempty"`
	Hot     int `json:"hot,omitempty"`
}

func startCrowd(at target) (role, error) {
	c := &crowd{address: at.Address, reads: newSubscriber()}
	return role{close: func() error { _, err := c.leave(none{}); return err }, ops: map[string]op{
		"footprint": opOf(footprintOp), "join": opOf(c.join), "leave": opOf(c.leave),
		"take": opOf(c.reads.take), "calls": opOf(c.calls),
	}}, nil
}

// join returns how long it took until the last one had its first values.
func (c *crowd) join(w crowdWork) (time.Duration, error) {
	start := time.Now()
	made := make([]*clusterclient.Client, w.Clients)
	errs := make([]error, w.Clients)
	slots := make(chan struct{}, joinAtOnce)
	var wg sync.WaitGroup
	for i := range made {
		slots <- struct{}{}
		wg.Go(func() {
			made[i], errs[i] = c.joinOne(w.Keys, i < w.Hot)
			<-slots
		})
	}
	wg.Wait()
	for _, m := range made {
		if m != nil {
			c.clients = append(c.clients, m)
		}
	}
	return time.Since(start), errors.Join(errs...)
}

func (c *crowd) joinOne(keys int, hot bool) (*clusterclient.Client, error) {
	m, err := follow(c.address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := within(joinPatience)
	defer cancel()
	subs := make([]*follower.Subscription, keys)
	for k := range subs {
		if subs[k], err = m.Subscribe(ctx, "cold/"+strconv.Itoa(k)); err != nil {
			return m, err
		}
	}
	for k, s := range subs {
		if _, err := s.Next(ctx); err != nil {
			return m, fmt.Errorf("key %d of %d: %w", k, keys, err)
		}
	}
	if hot {
		err = c.read(ctx, m)
	}
	return m, err
}

func (c *crowd) read(ctx context.Context, m *clusterclient.Client) error {
	s, err := m.Subscribe(ctx, hotKey)
	if err != nil {
		return err
	}
	if _, err := s.Next(ctx); err != nil {
		return err
	}
	go func() {
		for v, err := range s.Values(context.Background()) {
			if err == nil {
				c.reads.got(v.Data)
			}
		}
	}()
	return nil
}

// calls makes calls, one at a time, from one of the followers.
func (c *crowd) calls(d time.Duration) (callResult, error) {
	return makeSingleCalls(callWith(c.clients[0], callBytes), d)
}

func (c *crowd) leave(none) (none, error) {
	var errs []error
	for _, m := range c.clients {
		errs = append(errs, m.Close())
	}
	c.clients = nil
	return none{}, errors.Join(errs...)
}
