package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// untouched is a network that nobody may use.
type untouched struct{ t *testing.T }

func (u untouched) Listen(context.Context, string) (net.Listener, error) {
	u.t.Error("something has been started: the client listens")
	return nil, errors.ErrUnsupported
}

func (u untouched) Dial(context.Context, string) (net.Conn, error) {
	u.t.Error("something has been started: the client dials")
	return nil, errors.ErrUnsupported
}

func TestBadInput(t *testing.T) {
	opens := func(context.Context) (leader.Upstream, error) {
		t.Error("something has been started: the upstream is opened")
		return nil, errors.ErrUnsupported
	}
	with := func(opts ...clusterclient.Option) []clusterclient.Option { return opts }
	for _, test := range []struct {
		name    string
		cluster string // "test" when empty
		port    int
		env     string // CLUSTERCLIENT_PORT
		opts    []clusterclient.Option
		want    string
	}{
		{name: "empty name", cluster: "-", want: "the name is empty"},
		{name: "long name", cluster: strings.Repeat("n", 257), want: `n…"): invalid argument: the name has 257 bytes, at most 256 are allowed`},
		{name: "name not UTF-8", cluster: "\xff", want: "the name is not UTF-8"},
		{name: "negative port", port: -1, want: "port -1 is not"},
		{name: "large port", port: 65536, want: "port 65536 is not"},
		{name: "port in words", env: "http", want: `CLUSTERCLIENT_PORT is "http"`},
		{name: "port 0 by environment", env: "0", want: `CLUSTERCLIENT_PORT is "0"`},
		{name: "large port by environment", env: "65536", want: `CLUSTERCLIENT_PORT is "65536"`},
		{name: "nil open function", opts: with(clusterclient.WithUpstream(nil)), want: "WithUpstream was given nil"},
		{name: "no such role", opts: with(clusterclient.WithRole(17)), want: "RolePolicy(17) is no role policy"},
		{name: "negative role", opts: with(clusterclient.WithRole(-1)), want: "RolePolicy(-1) is no role policy"},
		{name: "leader without upstream", opts: with(clusterclient.WithRole(clusterclient.LeaderOnly)), want: "needs WithUpstream"},
		{name: "single without upstream", opts: with(clusterclient.WithSingleProcess()), want: "needs WithUpstream"},
		{
			name: "single that follows", want: "a single process cannot be follower only",
			opts: with(clusterclient.WithSingleProcess(), clusterclient.WithUpstream(opens), clusterclient.WithRole(clusterclient.FollowerOnly)),
		},
		{name: "nil codec", opts: with(clusterclient.WithCodec(nil)), want: "WithCodec was given nil"},
		{name: "nil network", opts: with(clusterclient.WithNetwork(nil)), want: "WithNetwork was given nil"},
		{name: "no wait", opts: with(clusterclient.WithMaxWait(0)), want: "WithMaxWait was given 0s"},
		{name: "negative wait", opts: with(clusterclient.WithMaxWait(-1)), want: "WithMaxWait was given -1ns"},
		{name: "negative linger", opts: with(clusterclient.WithLinger(-time.Second)), want: "WithLinger was given -1s"},
		{name: "no call timeout", opts: with(clusterclient.WithCallTimeout(0)), want: "WithCallTimeout was given 0s"},
		{name: "nil option", opts: with(nil), want: "option 1 is nil"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("CLUSTERCLIENT_PORT", test.env)
			name := "test"
			if test.cluster != "" {
				name = strings.TrimPrefix(test.cluster, "-")
			}
			base := with(clusterclient.WithNetwork(untouched{t}))
			c, err := clusterclient.Create(name, test.port, append(base, test.opts...)...)
			require.ErrorIs(t, err, clusterclient.ErrInvalid)
			require.ErrorContains(t, err, test.want)
			require.Nil(t, c)
		})
	}
}

func TestPortByEnvironment(t *testing.T) {
	for env, want := range map[string]string{"": "127.0.0.1:17777", "18000": "127.0.0.1:18000"} {
		t.Setenv("CLUSTERCLIENT_PORT", env)
		bubble.Test(t, func(t *testing.T) {
			var network clustertest.Network
			c, err := clusterclient.Create("test", 0, clusterclient.WithNetwork(network.Host()), clusterclient.WithUpstream(clustertest.NewUpstream().Open))
			require.NoError(t, err)
			require.Equal(t, want, c.Status().Address, "with CLUSTERCLIENT_PORT=%q", env)
			require.NoError(t, c.Close())
		})
	}
}

// errOpen is what an open function fails with.
var errOpen = errors.New("no route to the config centre")

func TestUpstreamDoesNotOpen(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(context.Context) (leader.Upstream, error)
		is   error // found in the error, if not nil
		says string
	}{
		{
			name: "error", is: errOpen, says: errOpen.Error(),
			open: func(context.Context) (leader.Upstream, error) { return nil, fmt.Errorf("dial: %w", errOpen) },
		},
		{
			name: "panic", says: "panicked: out of luck",
			open: func(context.Context) (leader.Upstream, error) { panic("out of luck") },
		},
		{
			name: "nothing", says: "returned neither an upstream nor an error",
			open: func(context.Context) (leader.Upstream, error) { return nil, nil },
		},
		{
			name: "bad methods", is: clusterclient.ErrInvalid, says: `method "m" is registered twice`,
			open: func(ctx context.Context) (leader.Upstream, error) {
				up := clustertest.NewUpstream()
				up.Methods = func(r *leader.Registry) {
					for range 2 {
						leader.Handle(r, "m", func(context.Context, int) (int, error) { return 0, nil })
					}
				}
				return up.Open(ctx)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
				for _, opt := range []clusterclient.Option{clusterclient.WithRole(clusterclient.Compete), clusterclient.WithRole(clusterclient.LeaderOnly), clusterclient.WithSingleProcess()} {
					began := time.Now()
					_, err := cluster.TryStart(clustertest.Name, clusterclient.WithUpstream(test.open), opt)
					require.ErrorContains(t, err, test.says)
					if test.is != nil {
						require.ErrorIs(t, err, test.is)
					}
					require.Less(t, time.Since(began), time.Second, "time until the error")
				}
				require.Equal(t, clusterclient.RoleLeader, cluster.Start().Role(), "a later Create works")
			})
		})
	}
}

// Every process that waits for the leader is given its error.
func TestUpstreamDoesNotOpenForAnybody(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.HangOpen(true)
		up.FailOpen(errors.New("no route to \xff")) // not UTF-8
		failed := make(chan error, 3)
		for range cap(failed) {
			go func() {
				_, err := cluster.TryStart(clustertest.Name)
				failed <- err
			}()
		}
		time.Sleep(10 * time.Second)
		up.HangOpen(false)
		for range cap(failed) {
			require.ErrorContains(t, <-failed, "no route to ")
		}
		require.Equal(t, 1, up.Opens(), "attempts to open the upstream")
		up.FailOpen(nil)
		cluster.Start()
	})
}

func TestUpstreamOpensSlowly(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.HangOpen(true)
		ready := make(chan time.Time, 3)
		for range cap(ready) {
			go func() {
				if _, err := cluster.TryStart(clustertest.Name); err != nil {
					t.Errorf("a client of a slow upstream: %v", err)
				}
				ready <- time.Now()
			}()
		}
		time.Sleep(29 * time.Second)
		require.Empty(t, ready, "clients that are ready before the upstream")
		opened := time.Now()
		up.HangOpen(false)
		for range cap(ready) {
			require.Zero(t, (<-ready).Sub(opened), "time from the upstream's start to a client's")
		}
		require.Len(t, cluster.Followers(), 2)
	})
}

func TestUpstreamHangs(t *testing.T) {
	t.Run("honours its context", func(t *testing.T) {
		inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
			up.HangOpen(true)
			began := time.Now()
			_, err := cluster.TryStart(clustertest.Name, clusterclient.WithMaxWait(5*time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorContains(t, err, "the upstream is being opened by this process")
			require.Equal(t, 5*time.Second, time.Since(began), "time until Create gave up")
		})
	})
	t.Run("does not", func(t *testing.T) {
		inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
			release := make(chan struct{})
			began := time.Now()
			_, err := cluster.TryStart(clustertest.Name, clusterclient.WithMaxWait(5*time.Second), clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) {
				<-release
				return up.Open(context.Background())
			}))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, time.Since(began), 8*time.Second, "time until Create gave up")
			cluster.Start() // the port is free
			close(release)
			synctest.Wait()
			require.Equal(t, 1, up.Connections(), "an upstream that opened late stays open")
		})
	})
}

func TestNilIsNoValue(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		reg, err := e.Client.Register(t.Context(), "service", []byte{})
		require.NoError(t, err, "Register with the empty value")
		require.NoError(t, e.Client.Publish(t.Context(), "k", []byte{}), "Publish of the empty value")

		_, err = e.Client.Register(t.Context(), "other", nil)
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "Register")
		require.ErrorIs(t, reg.Update(t.Context(), nil), clusterclient.ErrInvalid, "Update")
		require.ErrorIs(t, e.Client.Publish(t.Context(), "k", nil), clusterclient.ErrInvalid, "Publish")
		require.Len(t, e.Up.RegistrationHistory(), 1, "what reached the upstream")
	})
}

// clumsy is an upstream that panics where it can.
type clumsy struct {
	leader.Upstream
	methods, closing bool
}

func (c *clumsy) RegisterMethods(*leader.Registry) {
	if c.methods {
		panic("methods")
	}
}

func (c *clumsy) Close() error {
	if c.closing {
		panic("closing")
	}
	return c.Upstream.Close()
}

func TestUpstreamThatPanics(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		open := func(c clumsy) clusterclient.Option {
			return clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
				up, err := clustertest.NewUpstream().Open(ctx)
				c.Upstream = up
				return &c, err
			})
		}
		_, err := clusterclient.Create("c", 0, clusterclient.WithSingleProcess(), open(clumsy{methods: true}))
		require.ErrorContains(t, err, "register methods: it panicked: methods")

		c, err := clusterclient.Create("c", 0, clusterclient.WithSingleProcess(), open(clumsy{closing: true}))
		require.NoError(t, err)
		require.ErrorContains(t, c.Close(), "close upstream: it panicked: closing")
	})
}
