package clusterclient_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// misbehaviours are what the program's code can do instead of returning: a
// test's t.FailNow is the second one.
var misbehaviours = map[string]func(){
	"panics":             func() { panic("out of luck") },
	"ends its goroutine": runtime.Goexit,
}

// wayward is an upstream that does something else first where it is told to.
type wayward struct {
	leader.Upstream
	registerMethods, get, probe, deregister func() // nil goes on
}

func instead(do func()) {
	if do != nil {
		do()
	}
}

func (w *wayward) RegisterMethods(r *leader.Registry) {
	instead(w.registerMethods)
	w.Upstream.(leader.Service).RegisterMethods(r)
}

func (w *wayward) Get(ctx context.Context, key string) (leader.Update, error) {
	instead(w.get)
	return w.Upstream.(leader.Getter).Get(ctx, key)
}

func (w *wayward) Probe(ctx context.Context) error {
	instead(w.probe)
	return w.Upstream.(leader.Prober).Probe(ctx)
}

func (w *wayward) Register(ctx context.Context, r leader.Registration) error {
	return w.Upstream.(leader.Registrar).Register(ctx, r)
}

func (w *wayward) Deregister(ctx context.Context, r leader.Registration) error {
	instead(w.deregister)
	return w.Upstream.(leader.Registrar).Deregister(ctx, r)
}

// over returns the option for w on top of up.
func (w wayward) over(up *clustertest.Upstream) clusterclient.Option {
	return clusterclient.WithUpstream(func(ctx context.Context) (leader.Upstream, error) {
		opened, err := up.Open(ctx)
		w.Upstream = opened
		return &w, err
	})
}

// eachMisbehaviour runs test with each of them, which counts how often it was
// done, up to most times.
func eachMisbehaviour(t *testing.T, test func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32), most int32) {
	t.Helper()
	for name, misbehave := range misbehaviours {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				var done atomic.Int32
				test(t, up, cluster, func() {
					if done.Add(1) <= most {
						misbehave()
					}
				}, &done)
			})
		})
	}
}

// Who cannot register its methods does not lead: a Create fails at once, for
// everybody, and a takeover is tried again.
func TestRegisterMethodsThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), _ *atomic.Int32) {
		failed := make(chan error, 2)
		began := time.Now()
		for range cap(failed) {
			go func() {
				_, err := cluster.TryStart(clustertest.Name, wayward{registerMethods: do}.over(up))
				failed <- err
			}()
			synctest.Wait()
		}
		for range cap(failed) {
			require.ErrorContains(t, <-failed, "register methods: it ")
		}
		require.Less(t, time.Since(began), time.Second, "time until the error")
		require.Zero(t, up.Connections())
	}, 2)
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		up.Set("k", "one")
		first := cluster.Start()
		next := cluster.Start(wayward{registerMethods: do}.over(up))
		sub := mustSubscribe(t, next, "k")
		mustYield(t, sub, "one")
		first.Kill()
		mustBecome(t, next, clusterclient.RoleLeader)
		require.EqualValues(t, 4, done.Load())
		up.Set("k", "two")
		mustYield(t, sub, "two")
		require.Equal(t, 1, up.Connections())
	}, 3)
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), _ *atomic.Int32) {
		first := cluster.Start()
		next := cluster.Start(wayward{registerMethods: do}.over(up))
		began := time.Now()
		require.NoError(t, first.Close()) // which asks next to get ready
		require.Less(t, time.Since(began), time.Second, "time that Close took")
		mustBecome(t, next, clusterclient.RoleLeader)
		require.Equal(t, 1, up.Connections())
	}, 1)
}

// An upstream that is lost, and one that is found again, are noticed all the
// same.
func TestProbeThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		up.Set("k", "one")
		c := cluster.Start(wayward{probe: do}.over(up))
		sub := mustSubscribe(t, c, "k")
		mustYield(t, sub, "one")
		for st := range c.StatusChanges(t.Context()) {
			if !st.BlindSince.IsZero() {
				require.Contains(t, st.BlindReason, "the probe ")
				break
			}
		}
		time.Sleep(longEnough)
		mustBeFresh(t, sub)
		require.Greater(t, done.Load(), int32(10))
	}, 3)
}

// Keys are read again all the same.
func TestGetThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		up.Set("k", "one")
		c := cluster.Start(wayward{get: do}.over(up), clusterclient.WithReread(time.Minute))
		mustYield(t, mustSubscribe(t, c, "k"), "one")
		time.Sleep(10 * time.Minute)
		require.Greater(t, done.Load(), int32(5))
	}, 1)
}

// What a process that was killed has announced goes all the same, and the
// leader lives.
func TestDeregisterThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		book := new(logbook)
		cluster.Start(wayward{deregister: do}.over(up), book.option())
		dies := cluster.Start()
		mustRegister(t, dies, "service", "here")
		dies.Kill()
		time.Sleep(longEnough)
		require.Empty(t, registered(up))
		require.EqualValues(t, 3, done.Load())
		require.Len(t, book.with("[WARN]", "registration not withdrawn, trying again", "key=service", "Deregister "), 1)
	}, 2)
}

// Those that come later are told of all the same.
func TestHookThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		cluster.Start(clusterclient.WithFollowerHooks(func(leader.Peer) { do() }, func(leader.Peer, error) { do() }))
		for range 3 {
			require.NoError(t, cluster.Start().Close())
			synctest.Wait()
		}
		require.EqualValues(t, 6, done.Load())
	}, 4)
}

// Nor does it matter to others how the program's own probe ends: it has failed,
// wherever it was called.
func TestOwnProbeThatDoesNotReturn(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		option := clusterclient.WithResignWhenBlind(5*time.Second, func(context.Context) error { do(); return nil })
		first, second := cluster.Start(option), cluster.Start(option)
		first.Blind(errors.New("cut"))
		time.Sleep(10 * time.Minute) // the second one cannot be told to reach it, and then it can
		synctest.Wait()
		mustBecome(t, second, clusterclient.RoleLeader)
		require.NotEqual(t, clusterclient.RoleNone, first.Role())
		require.Greater(t, done.Load(), int32(2))
		first.Blind(nil)
		require.NoError(t, second.Close())
		mustBecome(t, first, clusterclient.RoleLeader)
	}, 2)
}

// A watch that is started, or ended, by what ends the goroutine keeps no other
// one from that.
func TestStartedWatchesAreStoppedAllTheSame(t *testing.T) {
	for name, misbehave := range misbehaviours {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var stopped atomic.Int32
				c := (&starting{start: func(_ string, sink leader.Sink) func() {
					sink.Report(say("good"))
					return func() {
						stopped.Add(1)
						sink.End(nil)
						misbehave()
					}
				}}).single(t)
				for _, key := range []string{"a", "b", "c"} {
					mustYield(t, mustSubscribe(t, c, key), "good")
				}
				require.NoError(t, c.Close())
				require.EqualValues(t, 3, stopped.Load())
			})
		})
	}
}

// A process that gets ready to lead is ready without a watch that goes wrong.
func TestReadyWithoutAWatchThatGoesWrong(t *testing.T) {
	eachMisbehaviour(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster, do func(), done *atomic.Int32) {
		up.Set("good", "one")
		up.Set("bad", "one")
		first := cluster.Start()
		s := &starting{starts: make(map[string]int), start: func(key string, sink leader.Sink) func() {
			if key == "bad" {
				do()
			}
			sink.Report(leader.Update{Data: []byte("one"), Version: "1"})
			return func() { sink.End(nil) }
		}}
		next := cluster.Start(clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) { return s, nil }))
		good, bad := mustSubscribe(t, next, "good"), mustSubscribe(t, next, "bad")
		mustYield(t, good, "one")
		mustYield(t, bad, "one")
		began := time.Now()
		require.NoError(t, first.Close())
		require.Less(t, time.Since(began), time.Second, "time that Close took")
		require.NotZero(t, done.Load())
		mustBecome(t, next, clusterclient.RoleLeader)
		mustBeFresh(t, good)
		time.Sleep(longEnough)
		mustBeFresh(t, bad)
	}, 1)
}
