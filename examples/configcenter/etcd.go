package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
)

// startTimeout bounds how long etcd may take to be ready, or to be reached.
const startTimeout = 15 * time.Second

// A center is an etcd and what can be said of it from the other side than that
// of the workers. The supervisor's own requests are in none of its figures.
type center struct {
	endpoint    string                             // for the workers
	dir         string                             // temporary; empty for an etcd that was there
	client      *clientv3.Client                   // of the supervisor
	connections func() int                         // of the workers, open now
	watchers    func(context.Context) (int, error) // as etcd counts them
	failed      <-chan error                       // etcd has ended by itself
	close       func() error
}

// openEtcd connects to the etcd at address, or starts one if that is empty.
func openEtcd(ctx context.Context, address string) (*center, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	open := startOwnEtcd
	if address != "" {
		open = func(ctx context.Context) (*center, error) { return useEtcd(ctx, address) }
	}
	c, err := open(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.createKey(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// startOwnEtcd starts an etcd of one member in this process.
func startOwnEtcd(ctx context.Context) (_ *center, err error) {
	dir, err := os.MkdirTemp("", "configcenter-")
	if err != nil {
		return nil, err
	}
	config, counter := ownConfig(dir)
	e, err := embed.StartEtcd(config)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start etcd: %w", err), os.RemoveAll(dir))
	}
	// This client calls the server's functions and has no connection, so that
	// it is not among those that are counted.
	client := v3client.New(e.Server)
	closeAll := func() error {
		_ = client.Close() // says only that it is closed
		e.Close()
		return os.RemoveAll(dir)
	}
	select {
	case <-e.Server.ReadyNotify():
	case err := <-e.Err():
		return nil, errors.Join(fmt.Errorf("start etcd: %w", err), closeAll())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("start etcd: %w", context.Cause(ctx)), closeAll())
	}
	return &center{
		endpoint: e.Clients[0].Addr().String(), dir: dir, client: client,
		connections: counter.count, watchers: ownWatchers,
		failed: e.Err(), close: closeAll,
	}, nil
}

func ownConfig(dir string) (*embed.Config, *connCounter) {
	counter := new(connCounter)
	anyPort := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls, c.AdvertiseClientUrls = anyPort, anyPort
	c.ListenPeerUrls, c.AdvertisePeerUrls = anyPort, anyPort // a lone member has no peers
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs = 10, 100 // nobody to wait for in an election
	c.UnsafeNoFsync = true           // the folder does not outlive the process
	c.EnableGRPCGateway = false      // it would connect to etcd and be counted
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	c.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.StatsHandler(counter)}
	return c, counter
}

// ownWatchers reads the figure that etcd shows at /metrics.
func ownWatchers(context.Context) (int, error) {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() == watchersMetric && len(f.GetMetric()) > 0 {
			return int(f.GetMetric()[0].GetGauge().GetValue()), nil
		}
	}
	return 0, fmt.Errorf("etcd does not tell %s", watchersMetric)
}

// createKey gives the key a first value unless it has one.
func (c *center) createKey(ctx context.Context) error {
	absent := clientv3.Compare(clientv3.CreateRevision(prefix+key), "=", 0)
	_, err := c.client.Txn(ctx).If(absent).Then(clientv3.OpPut(prefix+key, "hello")).Commit()
	if err != nil {
		return fmt.Errorf("write to etcd: %w", err)
	}
	return nil
}

// A connCounter is told by etcd's gRPC server of each connection that it
// accepts and loses.
type connCounter struct{ open atomic.Int64 }

func (c *connCounter) count() int { return int(c.open.Load()) }

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
