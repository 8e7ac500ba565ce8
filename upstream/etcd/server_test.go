package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// leaseTTL is short, so that tests can wait for it, but longer than a busy
// machine may forget about a process.
const leaseTTL = 3 * time.Second

// A server is a real etcd of one member, in this process, and the suite's
// harness.
type server struct {
	t      *testing.T
	config *embed.Config
	etcd   *embed.Etcd
	side   *clientv3.Client // the side door
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t}
	s.first()
	t.Cleanup(func() { s.etcd.Close() })
	s.side = s.client()
	require.NoError(t, s.answers(t.Context()))
	return s
}

// first starts etcd on ports that it finds free. They lie below the ephemeral
// range, so that nobody takes them while etcd is stopped.
func (s *server) first() {
	s.t.Helper()
	dir := s.t.TempDir()
	var err error
	for range 10 {
		port := 20000 + 2*rand.N(5000)
		s.config = newConfig(dir, port)
		if err = s.start(); err == nil {
			return
		}
	}
	s.t.Fatalf("etcd did not start: %v", err)
}

func newConfig(dir string, port int) *embed.Config {
	local := func(port int) []url.URL {
		return []url.URL{{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}}
	}
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenClientUrls, c.AdvertiseClientUrls = local(port), local(port)
	c.ListenPeerUrls, c.AdvertisePeerUrls = local(port+1), local(port+1)
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.TickMs, c.ElectionMs = 10, 100
	c.UnsafeNoFsync = true
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	return c
}

func (s *server) start() error {
	e, err := embed.StartEtcd(s.config)
	if err != nil {
		return err
	}
	select {
	case <-e.Server.ReadyNotify():
		s.etcd = e
		return nil
	case err := <-e.Err():
		e.Close()
		return err
	}
}

// client returns a client that is quick to connect again.
func (s *server) client(opts ...grpc.DialOption) *clientv3.Client {
	s.t.Helper()
	again := backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 200 * time.Millisecond}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{s.config.ListenClientUrls[0].String()},
		Logger:      zap.NewNop(),
		DialOptions: append(opts, grpc.WithConnectParams(grpc.ConnectParams{Backoff: again, MinConnectTimeout: time.Second})),
	})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// answers waits until etcd does.
func (s *server) answers(ctx context.Context) error {
	for {
		_, err := s.side.Get(ctx, "any")
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}

func (s *server) Open(context.Context) (leader.Upstream, error) {
	return etcd.New(s.client(), etcd.WithPrefix("/test/"), etcd.WithLeaseTTL(leaseTTL), etcd.WithOwnedClient()), nil
}

func (s *server) Set(ctx context.Context, key string, data []byte) error {
	_, err := s.side.Put(ctx, "/test/"+key, string(data))
	return err
}

func (s *server) Delete(ctx context.Context, key string) error {
	_, err := s.side.Delete(ctx, "/test/"+key)
	return err
}

func (s *server) Get(ctx context.Context, key string) ([]byte, bool, error) {
	resp, err := s.side.Get(ctx, "/test/"+key)
	if err != nil || len(resp.Kvs) == 0 {
		return nil, false, err
	}
	return resp.Kvs[0].Value, true, nil
}

func (s *server) Stop(context.Context) error {
	s.etcd.Close()
	return nil
}

func (s *server) Start(ctx context.Context) error {
	return errors.Join(s.start(), s.answers(ctx))
}

func (s *server) Compact(ctx context.Context) error {
	resp, err := s.side.Get(ctx, "any")
	if err != nil {
		return err
	}
	_, err = s.side.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	return err
}

// Expiry leaves etcd, which looks for what is expired twice a second, some
// time beyond the lease.
func (s *server) Expiry() time.Duration { return leaseTTL + 2*time.Second }
