package clusterclient_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

const portAddress = "127.0.0.1:17777" // of every clustertest.Cluster

func TestSecondLeaderOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		only := clusterclient.WithRole(clusterclient.LeaderOnly)
		a := cluster.Start(only)
		_, err := cluster.TryStart(clustertest.Name, only)
		require.ErrorIs(t, err, clusterclient.ErrLeadershipTaken)
		require.ErrorContains(t, err, "pid ")
		require.Equal(t, 1, up.Opens())
		require.NoError(t, a.Close())
		require.Equal(t, clusterclient.RoleLeader, cluster.Start(only).Role())
	})
}

func TestFollowerOnlyAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		began := time.Now()
		go func() {
			time.Sleep(10 * time.Second)
			lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
			if err != nil {
				t.Errorf("a client that never leads has bound the port: %v", err)
				return
			}
			_ = lis.Close()
		}()
		_, err := cluster.TryStart(clustertest.Name, clusterclient.WithRole(clusterclient.FollowerOnly))
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "waiting for a process that can lead (one with WithUpstream) to listen on "+portAddress)
		require.Equal(t, 30*time.Second, time.Since(began).Round(time.Second), "time until Create gave up")
		require.Zero(t, up.Opens())
	})
}

func TestFollowerBeforeAnyLeader(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		early := make(chan *clustertest.Node, 1)
		go func() {
			n, err := cluster.TryStart(clustertest.Name, clusterclient.WithRole(clusterclient.FollowerOnly))
			if err != nil {
				t.Errorf("the early follower: %v", err)
			}
			early <- n
		}()
		time.Sleep(20 * time.Second)
		leads := cluster.Start()
		began := time.Now()
		b := <-early
		require.LessOrEqual(t, time.Since(began), time.Second, "time until the follower was ready")
		sub := mustSubscribe(t, b, "k")
		mustYield(t, sub, "one")

		leads.Kill()
		time.Sleep(10 * 30 * time.Second) // ten times the longest wait
		require.Contains(t, b.Status().Waiting, "waiting for a process that can lead")
		up.Set("k", "two")
		cluster.Start()
		began = time.Now()
		mustYield(t, sub, "two")
		require.LessOrEqual(t, time.Since(began), time.Second, "time until all was well again")
	})
}

func TestIdentityMismatch(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "secret")
		cluster.Start(clusterclient.WithIdentity("ab", "c"))
		cluster.Start(clusterclient.WithIdentity("ab", "c"))
		for name, opts := range map[string][]clusterclient.Option{
			"other parts":  {clusterclient.WithIdentity("ab", "d")},
			"other splits": {clusterclient.WithIdentity("a", "bc")},
			"no identity":  nil,
			"follower":     {clusterclient.WithIdentity("ab", "d"), clusterclient.WithRole(clusterclient.FollowerOnly)},
		} {
			began := time.Now()
			_, err := cluster.TryStart(clustertest.Name, opts...)
			require.ErrorIs(t, err, clusterclient.ErrIdentityMismatch, name)
			require.Zero(t, time.Since(began), "time until the error: %s", name)
		}
		require.Len(t, cluster.Followers(), 1)
		require.Equal(t, 1, cluster.Leader().Status().Followers)
	})
}

func TestIdentityMismatchAtANameLedElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		cluster.Start() // owns the port
		_, err := cluster.TryStart("other", clusterclient.WithIdentity("a"))
		require.NoError(t, err)
		_, err = cluster.TryStart("other", clusterclient.WithIdentity("b"))
		require.ErrorIs(t, err, clusterclient.ErrIdentityMismatch)
	})
}

// foreigners are programs that hold the port and are no cluster of ours.
var foreigners = map[string]func(net.Listener){
	"silent": func(lis net.Listener) {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	},
	"closes at once": func(lis net.Listener) {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	},
	"HTTP": func(lis net.Listener) {
		s := &http.Server{ReadHeaderTimeout: time.Minute}
		_ = s.Serve(lis)
		_ = s.Close()
	},
}

func TestForeignListener(t *testing.T) {
	for name, serve := range foreigners {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
				require.NoError(t, err)
				go serve(lis)
				for _, policy := range []clusterclient.RolePolicy{clusterclient.Compete, clusterclient.FollowerOnly, clusterclient.LeaderOnly} {
					_, err = cluster.TryStart(clustertest.Name, clusterclient.WithRole(policy))
					require.ErrorIs(t, err, clusterclient.ErrForeignListener, "%v", policy)
					require.ErrorContains(t, err, portAddress+" is held by ")
				}
				require.Zero(t, up.Opens())
				require.NoError(t, lis.Close())
				cluster.Start()
			})
		})
	}
}

// A Create whose time is over before there is enough evidence names the
// stranger all the same.
func TestForeignListenerAndLittleTime(t *testing.T) {
	for name, serve := range foreigners {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
				require.NoError(t, err)
				defer func() { _ = lis.Close() }()
				go serve(lis)
				for _, d := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 6 * time.Second} {
					_, err = cluster.TryStart(clustertest.Name, clusterclient.WithMaxWait(d))
					require.ErrorContains(t, err, portAddress+" is held by ", "after %v", d)
					if d > time.Second {
						require.ErrorIs(t, err, clusterclient.ErrForeignListener, "after %v", d)
					} else {
						require.ErrorIs(t, err, clusterclient.ErrNoLeader, "after %v", d)
						require.ErrorIs(t, err, context.DeadlineExceeded, "after %v", d)
					}
				}
			})
		})
	}
}

// A stranger that goes while Create waits is forgiven, and one that comes
// when the leader has gone is named, and outlived.
func TestForeignListenerGoes(t *testing.T) {
	for name, serve := range foreigners {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				up.Set("k", "one")
				stay := func(d time.Duration) {
					lis, err := cluster.Network.Host().Listen(t.Context(), portAddress)
					require.NoError(t, err)
					go serve(lis)
					time.AfterFunc(d, func() { _ = lis.Close() })
				}
				stay(time.Second)
				a := cluster.Start()
				b := cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
				sub := mustSubscribe(t, b, "k")
				mustYield(t, sub, "one")
				time.Sleep(time.Second) // it has made ready for the next leader
				a.Kill()
				stay(time.Minute)
				time.Sleep(time.Minute - time.Second)
				require.Contains(t, b.Status().Waiting, "port held by a stranger")
				require.ErrorIs(t, mustBeStale(t, sub).Reason, clusterclient.ErrNoLeader)
				time.Sleep(2 * time.Second)
				cluster.Start()
				mustStayQuiet(t, sub)
				mustBeFresh(t, sub)
			})
		})
	}
}

func TestResign(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Set("k", "one")
		a := cluster.Start()
		here := mustSubscribe(t, a, "k")
		mustYield(t, here, "one")
		require.ErrorIs(t, a.Resign(t.Context()), clusterclient.ErrNoCandidate, "Resign of the only process")
		cluster.Start(clusterclient.WithRole(clusterclient.FollowerOnly))
		require.ErrorIs(t, a.Resign(t.Context()), clusterclient.ErrNoCandidate, "Resign when nobody else can lead")
		require.Equal(t, clusterclient.RoleLeader, a.Role())

		b := cluster.Start()
		there := mustSubscribe(t, b, "k")
		mustYield(t, there, "one")
		require.NoError(t, b.Resign(t.Context()), "Resign of a follower")
		require.Equal(t, clusterclient.RoleLeader, a.Role())

		began := time.Now()
		require.NoError(t, a.Resign(t.Context()))
		require.Less(t, time.Since(began), time.Second, "time that Resign took")
		require.Equal(t, clusterclient.RoleFollower, a.Role())
		require.Equal(t, clusterclient.RoleLeader, b.Role())
		require.EqualValues(t, 2, b.Status().Term)
		mustStayQuiet(t, here)
		mustStayQuiet(t, there)
		mustBeFresh(t, here)
		require.Equal(t, 1, up.Connections(), "connections to the upstream")
		up.Set("k", "two")
		mustYield(t, here, "two")
		mustYield(t, there, "two")
	})
}

// Whoever resigns while the leader is leaving already has resigned from this
// leadership, not from one that the process may have later.
func TestResignWhileLeaving(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "work", func(context.Context, []byte) ([]byte, error) {
				time.Sleep(time.Second)
				return []byte("done"), nil
			})
		}
		a, b := cluster.Start(), cluster.Start()
		worked := make(chan error, 1)
		go func() { worked <- b.Invoke(t.Context(), "work", []byte("now"), nil) }()
		synctest.Wait()
		resigned := make(chan error, 10)
		for range cap(resigned) {
			go func() { resigned <- a.Resign(t.Context()) }()
			synctest.Wait()
		}
		for range cap(resigned) {
			require.NoError(t, <-resigned)
		}
		require.NoError(t, <-worked, "the call that was under way")
		require.Equal(t, b, cluster.Leader())
		time.Sleep(longEnough)
		b.Kill()
		time.Sleep(longEnough)
		require.Equal(t, clusterclient.RoleLeader, a.Role())
		require.EqualValues(t, 3, a.Status().Term, "nobody asked to give this leadership up")
	})
}

// Resign that nobody was ready for in its time has come to nothing, or, where the
// next leader opens its upstream afterwards, gives the leadership up all the same.
func TestResignWithinItsContext(t *testing.T) {
	for name, row := range map[string]struct {
		opts        []clusterclient.Option
		at, outcome clusterclient.Role
	}{
		"hands over": {nil, clusterclient.RoleLeader, clusterclient.RoleLeader},
		"strictly":   {[]clusterclient.Option{clusterclient.WithStrictlyOneUpstream()}, clusterclient.RoleNone, clusterclient.RoleFollower},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				a := cluster.Start()
				cluster.Start()
				up.HangOpen(true) // the next leader gets nowhere
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				require.ErrorIs(t, a.Resign(ctx), context.DeadlineExceeded)
				require.Equal(t, row.at, a.Role())
				up.HangOpen(false)
				time.Sleep(longEnough)
				require.Equal(t, row.outcome, a.Role())
			}, row.opts...)
		})
	}
}
