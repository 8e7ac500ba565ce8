package main

import (
	"fmt"
	"slices"
	"time"
)

const (
	loadEtcd   = "16 clients, 500 updates a second"
	etcdRate   = 500
	etcdKey    = "/bench/key"
	etcdDirect = "etcd, direct"
	etcdProxy  = "etcd grpc-proxy"
)

// etcdScenario updates one key of an etcd that every client watches, by
// itself, through etcd's grpc-proxy, or through the library. Each way has an
// etcd of its own, which is quiet while another is measured.
func etcdScenario(l *lab) error {
	var variants []variant
	for _, name := range []string{ours, etcdDirect, etcdProxy} {
		s, err := l.startEtcdSet(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		variants = append(variants, variant{loadEtcd, name, func(d time.Duration) ([]measurement, error) { return s.measure(l, 3*d) }})
	}
	return l.interleave(variants)
}

// An etcdSet is an etcd and all that get its updates.
type etcdSet struct {
	etcd    *process
	clients []*process
	all     []*process // the proxy too
}

// etcdTarget is what a client has to know. Port is that of its cluster, 0 for
// a client that watches by itself.
type etcdTarget struct {
	Address string `json:"address"`
	Port    int    `json:"port,omitempty"`
}

func (l *lab) startEtcdSet(name string) (*etcdSet, error) {
	s := new(etcdSet)
	var at etcdTarget
	var err error
	if s.etcd, err = l.start("etcd", none{}, &at.Address); err != nil {
		return nil, err
	}
	s.all = append(s.all, s.etcd)
	switch name {
	case etcdProxy:
		proxy, err := l.start("etcd-proxy", at, &at.Address)
		if err != nil {
			return nil, err
		}
		s.all = append(s.all, proxy)
	case ours:
		if at.Port, err = freePort(); err != nil {
			return nil, err
		}
	}
	for range l.size.subscriber {
		c, err := l.start("etcd-client", at, nil)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, c)
	}
	s.all = slices.Concat(s.all, s.clients)
	return s, nil
}

// etcdCounts is what etcd says of those that use it.
type etcdCounts struct {
	Connections int `json:"connections"`
	Watchers    int `json:"watchers"`
}

func (s *etcdSet) measure(l *lab, d time.Duration) ([]measurement, error) {
	if _, err := takeAll(l, s.clients); err != nil {
		return nil, err
	}
	before, err := usage(l, s.all)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	var written int
	if err := s.etcd.do(l.ctx, "write", updateWork{Duration: d, Rate: etcdRate}, &written); err != nil {
		return nil, err
	}
	time.Sleep(20 * time.Millisecond) // for the last to arrive
	after, err := usage(l, s.all)
	if err != nil {
		return nil, err
	}
	elapsed := time.Since(start)
	taken, err := takeAll(l, s.clients)
	if err != nil {
		return nil, err
	}
	var h histogram
	for _, t := range taken {
		h.merge(t)
	}
	var n etcdCounts
	if err := s.etcd.do(l.ctx, "counts", none{}, &n); err != nil {
		return nil, err
	}
	return append(latencies(&h),
		measurement{"processor time", "cores", float64(after-before) / float64(elapsed)},
		measurement{"share delivered", "%", 100 * float64(h.total()) / float64(written*len(s.clients))},
		measurement{"connections at etcd", "", float64(n.Connections)},
		measurement{"watchers at etcd", "", float64(n.Watchers)},
	), nil
}
