package clusterclient_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
)

// A lossy cluster has a leader, a candidate that follows it, and a caller that
// only follows. The first run of "once" and of "again", which is idempotent,
// lasts until the leader is lost; later ones answer at once.
type lossy struct {
	*clustertest.Cluster
	first   *clustertest.Node
	network *stallable
	caller  *clusterclient.Client
	runs    atomic.Int32
}

func lossily(t *testing.T, test func(t *testing.T, l *lossy)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		l := new(lossy)
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			run := func(ctx context.Context, _ []byte) ([]byte, error) {
				if l.runs.Add(1) == 1 && l.first != nil {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return []byte("answer"), nil
			}
			leader.Handle(r, "once", run)
			leader.Handle(r, "again", run, leader.Idempotent())
		}
		l.Cluster = clustertest.New(t, up)
		l.first = l.Start()
		l.Start()
		l.network = newStallable(l.Cluster)
		l.caller = l.Start(l.network.option(), clusterclient.WithRole(clusterclient.FollowerOnly)).Client
		test(t, l)
	})
}

// whileCalling makes a call, has lose run a second later, and returns the
// call's outcome and how long it took.
func (l *lossy) whileCalling(t *testing.T, method string, size int, lose func()) (string, time.Duration, error) {
	began := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		time.Sleep(time.Second)
		lose()
	})
	var answer []byte
	err := l.caller.Invoke(t.Context(), method, make([]byte, size), &answer)
	took := time.Since(began)
	wg.Wait()
	synctest.Wait()
	return string(answer), took, err
}

func TestLeaderLostDuringCall(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		_, took, err := l.whileCalling(t, "once", 1, l.first.Kill)
		require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
		require.Equal(t, codes.Unknown, status.Code(err), "%v", err)
		require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		require.Equal(t, time.Second, took, "time until the call ended: that of the kill")
		require.EqualValues(t, 1, l.runs.Load(), "times the handler was started")
		got, err := clusterclient.Invoke[[]byte, []byte](t.Context(), l.caller, "once", nil)
		require.NoError(t, err, "a call to the next leader")
		require.Equal(t, "answer", string(got))
	})
}

func TestLeaderLostDuringIdempotentCall(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		got, took, err := l.whileCalling(t, "again", 1, l.first.Kill)
		require.NoError(t, err)
		require.Equal(t, "answer", got)
		require.Less(t, took, 2*time.Second, "time until the next leader's answer")
		require.EqualValues(t, 2, l.runs.Load(), "times the handler was started")
	})
}

// A leader that leaves waits for calls, but not for ever. What a handler says
// that was told to end is no answer.
func TestLeaderLeavesDuringLongCall(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		_, took, err := l.whileCalling(t, "once", 1, func() { _ = l.first.Close() })
		require.ErrorIs(t, err, clusterclient.ErrOutcomeUnknown)
		require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		require.Less(t, took, 10*time.Second, "time until the call ended")
		require.EqualValues(t, 1, l.runs.Load(), "times the handler was started")
	})
	lossily(t, func(t *testing.T, l *lossy) {
		got, _, err := l.whileCalling(t, "again", 1, func() { _ = l.first.Close() })
		require.NoError(t, err)
		require.Equal(t, "answer", got)
		require.EqualValues(t, 2, l.runs.Load(), "times the handler was started")
	})
}

// TestIdempotentCallKeepsItsDeadline loses the leader when there is no other.
func TestIdempotentCallKeepsItsDeadline(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		began := time.Now()
		for _, n := range l.Followers() {
			if n.Client != l.caller {
				n.Kill()
			}
		}
		time.AfterFunc(time.Second, l.first.Kill)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := l.caller.Invoke(ctx, "again", []byte{}, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, clusterclient.ErrNoLeader)
		require.Equal(t, 5*time.Second, time.Since(began), "time until the call ended")
	})
}

// TestLeaderLostBeforeCallWasHandedOver keeps the last piece of a large
// argument, and a small call behind it, from leaving the caller.
func TestLeaderLostBeforeCallWasHandedOver(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		l.runs.Store(1) // no run is the first
		l.network.stall()
		var small error
		got, took, err := l.whileCalling(t, "once", 5<<20, func() {
			var wg sync.WaitGroup
			wg.Go(func() { small = l.caller.Invoke(t.Context(), "once", []byte("x"), nil) })
			time.Sleep(time.Second)
			l.first.Kill()
			l.network.release()
			wg.Wait()
		})
		require.NoError(t, err, "the large call")
		require.NoError(t, small, "the small call")
		require.Equal(t, "answer", got)
		require.Less(t, took, 3*time.Second, "time until the next leader's answer")
		require.EqualValues(t, 3, l.runs.Load(), "1 and the times the handler was started")
	})
}

// TestOnewayCallLostWithLeader hands a oneway call to a leader that is killed.
func TestOnewayCallLostWithLeader(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		require.NoError(t, l.caller.InvokeOneway(t.Context(), "once", []byte{}))
		l.first.Kill()
		synctest.Wait()
		time.Sleep(longEnough)
		require.EqualValues(t, 1, l.runs.Load(), "times the handler was started")
	})
}

// TestCallsWhileLeaderResigns has every process call, without a pause, while
// the leadership goes round.
func TestCallsWhileLeaderResigns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		up := clustertest.NewUpstream()
		up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "swap", func(ctx context.Context, p point) (point, error) {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
					return point{}, ctx.Err()
				}
				return p.swap(), nil
			})
		}
		cluster := clustertest.New(t, up)
		for range 3 {
			cluster.Start()
		}
		over := make(chan struct{})
		var callers sync.WaitGroup
		var calls atomic.Int32
		for _, n := range append(cluster.Followers(), cluster.Leader()) {
			for range 4 {
				callers.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-over:
							return
						default:
						}
						p, err := clusterclient.Invoke[point, point](t.Context(), n.Client, "swap", point{i, -i})
						if !assert.NoError(t, err, "call %d", i) || !assert.Equal(t, point{-i, i}, p, "call %d", i) {
							return
						}
						calls.Add(1)
					}
				})
			}
		}
		for i := range 5 {
			time.Sleep(5 * time.Second) // one that resigned lets the others go first for 3 s
			was := cluster.Leader()
			require.NoError(t, was.Resign(t.Context()), "resignation %d", i)
			synctest.Wait()
			require.NotSame(t, was, cluster.Leader(), "leader after resignation %d", i)
		}
		close(over)
		callers.Wait()
		require.Greater(t, calls.Load(), int32(1000), "calls that were made")
	})
}

// TestLeaderCloses checks what becomes of calls that others have under way in
// a process that closes.
func TestLeaderCloses(t *testing.T) {
	tests := []struct {
		name  string
		runs  time.Duration // of the handler, unless its context ends
		took  time.Duration // of the call
		fails bool
	}{
		{"short call", 3 * time.Second, 3 * time.Second, false},
		{"long call", time.Minute, 6 * time.Second, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				up := clustertest.NewUpstream()
				up.Methods = func(r *leader.Registry) {
					roundTrips(r)
					leader.Handle(r, "run", func(ctx context.Context, _ any) (any, error) {
						select {
						case <-time.After(test.runs):
							return nil, nil
						case <-ctx.Done():
							return nil, errors.New("told to end")
						}
					})
				}
				cluster := clustertest.New(t, up)
				first, caller := cluster.Start(), cluster.Start()
				began := time.Now()
				time.AfterFunc(time.Second, func() { _ = first.Close() })
				err := caller.Invoke(t.Context(), "run", nil, nil)
				require.Equal(t, test.fails, err != nil, "the call fails with %v", err)
				require.Equal(t, test.took, time.Since(began), "time until the call ended")
				if test.fails {
					require.ErrorContains(t, err, "told to end")
				}
				_, err = clusterclient.Invoke[point, point](t.Context(), caller.Client, "swap", point{1, 2})
				require.NoError(t, err, "the next call")
			})
		})
	}
}

// TestCallOnItsWayToALeaderThatLeaves hands over a call that reaches the
// leader when that has stopped to take any.
func TestCallOnItsWayToALeaderThatLeaves(t *testing.T) {
	lossily(t, func(t *testing.T, l *lossy) {
		l.runs.Store(1) // no run is the first
		l.network.stall()
		time.AfterFunc(1500*time.Millisecond, l.network.release)
		got, took, err := l.whileCalling(t, "once", 1, func() {
			assert.NoError(t, l.first.Resign(t.Context()))
		})
		require.NoError(t, err)
		require.Equal(t, "answer", got)
		require.Less(t, took, 3*time.Second, "time until the next leader's answer")
		require.EqualValues(t, 2, l.runs.Load(), "1 and the times the handler was started")
	})
}
