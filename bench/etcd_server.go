package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/proxy/grpcproxy"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// watchersMetric is the one that etcd shows at /metrics.
const watchersMetric = "etcd_debugging_mvcc_watcher_total"

// etcdServer is an etcd of one member, and the one that writes to it.
type etcdServer struct {
	client *clientv3.Client // without a connection
	conns  *connCounter
	seq    int64
}

func startEtcd(none) (role, error) {
	dir, err := os.MkdirTemp("", "clusterclient-bench-")
	if err != nil {
		return role{}, err
	}
	s := &etcdServer{conns: new(connCounter)}
	e, err := embed.StartEtcd(etcdConfig(dir, s.conns))
	if err != nil {
		return role{}, errors.Join(err, os.RemoveAll(dir))
	}
	stop := func() error {
		e.Close()
		return os.RemoveAll(dir)
	}
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(startTimeout):
		return role{}, errors.Join(errors.New("etcd is not ready"), stop())
	}
	s.client = v3client.New(e.Server)
	return role{
		info: e.Clients[0].Addr().String(), close: stop,
		ops: map[string]op{"write": opOf(s.write), "counts": opOf(s.counts)},
	}, nil
}

func etcdConfig(dir string, conns *connCounter) *embed.Config {
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls, c.AdvertiseClientUrls = anyPort, anyPort
	c.ListenPeerUrls, c.AdvertisePeerUrls = anyPort, anyPort // a lone member has no peers
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.UnsafeNoFsync = true      // the disk is not what is measured
	c.EnableGRPCGateway = false // it would connect to etcd and be counted
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.StatsHandler(conns)}
	return c
}

// write updates the key at a steady rate and returns how often.
func (s *etcdServer) write(w updateWork) (int, error) {
	start := time.Now()
	n := 0
	for time.Since(start) < w.Duration {
		n++
		s.seq++
		if _, err := s.client.Put(context.Background(), etcdKey, string(newValue(s.seq))); err != nil {
			return n, err
		}
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(w.Rate))))
	}
	return n, nil
}

func (s *etcdServer) counts(none) (etcdCounts, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return etcdCounts{}, err
	}
	for _, f := range families {
		if f.GetName() == watchersMetric && len(f.GetMetric()) > 0 {
			return etcdCounts{int(s.conns.open.Load()), int(f.GetMetric()[0].GetGauge().GetValue())}, nil
		}
	}
	return etcdCounts{}, errors.New("etcd does not tell " + watchersMetric)
}

// A connCounter is told of each connection that etcd accepts and loses.
type connCounter struct{ open atomic.Int64 }

// HandleConn counts.
func (c *connCounter) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		c.open.Add(1)
	case *stats.ConnEnd:
		c.open.Add(-1)
	}
}

// TagConn does nothing, and neither do the methods below.
func (c *connCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC does nothing.
func (c *connCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC does nothing.
func (c *connCounter) HandleRPC(context.Context, stats.RPCStats) {}

// startEtcdProxy runs what `etcd grpc-proxy start` does, as far as a watch
// needs it.
func startEtcdProxy(at etcdTarget) (role, error) {
	client, err := etcdClientOf(at.Address)
	if err != nil {
		return role{}, err
	}
	kv, _ := grpcproxy.NewKvProxy(client)
	watch, _ := grpcproxy.NewWatchProxy(client.Ctx(), zap.NewNop(), client)
	lease, _ := grpcproxy.NewLeaseProxy(client.Ctx(), client)
	address, stop, err := serveGRPC(func(s *grpc.Server) {
		etcdserverpb.RegisterKVServer(s, kv)
		etcdserverpb.RegisterWatchServer(s, watch)
		etcdserverpb.RegisterLeaseServer(s, lease)
		etcdserverpb.RegisterMaintenanceServer(s, grpcproxy.NewMaintenanceProxy(client))
	})
	return role{info: address, close: stop}, err
}

func etcdClientOf(address string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{address}, Logger: zap.NewNop(), DialTimeout: startTimeout})
}
