package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
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

// The watches of an upstream that starts them take no goroutine each.
func TestStartedWatchesTakeNoGoroutine(t *testing.T) {
	for _, starts := range []bool{true, false} {
		t.Run(fmt.Sprint(starts), func(t *testing.T) {
			inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
				const keys = 500
				up.Starts = starts
				up.Set("k", "one")
				leads := cluster.Start()
				mustYield(t, mustSubscribe(t, leads, "k"), "one")
				synctest.Wait()
				before := runtime.NumGoroutine()
				for i := range keys {
					mustSubscribe(t, leads, fmt.Sprint(i))
				}
				synctest.Wait()
				require.Equal(t, 1, up.Watches("7"))
				require.Equal(t, starts, runtime.NumGoroutine()-before < keys/2)
			})
		})
	}
}

// starting is an upstream whose watches are started as the test says.
type starting struct {
	start func(key string, sink leader.Sink) (stop func())

	mu     sync.Mutex // guards what follows
	starts map[string]int
}

func (s *starting) Watch(context.Context, string, func(leader.Update)) error {
	panic("Watch of an upstream that starts its watches")
}

func (s *starting) StartWatch(key string, sink leader.Sink) (stop func()) {
	s.mu.Lock()
	s.starts[key]++
	s.mu.Unlock()
	return s.start(key, sink)
}

func (s *starting) started(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts[key]
}

func (s *starting) Close() error { return nil }

// single returns a client in a single process whose upstream is s.
func (s *starting) single(t *testing.T, opts ...clusterclient.Option) *clusterclient.Client {
	s.starts = make(map[string]int)
	c, err := clusterclient.Create("c", 0, append(opts, clusterclient.WithSingleProcess(),
		clusterclient.WithUpstream(func(context.Context) (leader.Upstream, error) { return s, nil }))...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// A watch that keeps all others from being started is complained of, once.
func TestStartWatchThatBlocks(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := &starting{start: func(key string, sink leader.Sink) func() {
			if key == "slow" {
				time.Sleep(10 * time.Second)
			}
			sink.Report(say("good"))
			return func() { sink.End(nil) }
		}}
		book := new(logbook)
		c := s.single(t, book.option())
		mustYield(t, mustSubscribe(t, c, "before"), "good")
		slow, start := mustSubscribe(t, c, "slow"), time.Now()
		mustYield(t, mustSubscribe(t, c, "after"), "good")
		mustYield(t, slow, "good")
		require.Equal(t, 10*time.Second, time.Since(start))
		require.Len(t, book.with("[WARN]", "StartWatch blocks", "key=slow", "for=3s"), 1)
		require.Len(t, book.with("StartWatch"), 1)
	})
}

func say(what string) leader.Update { return leader.Update{Data: []byte(what), Version: what} }

// What an upstream does wrong with one watch is that key's trouble alone, and
// the watch is tried again.
func TestStartedWatchThatGoesWrong(t *testing.T) {
	for name, wrong := range map[string]func(leader.Sink) func(){
		"fails at once":                    func(s leader.Sink) func() { s.End(errors.New("not now")); return nil },
		"ends for nothing":                 func(s leader.Sink) func() { s.End(nil); return nil },
		"panics":                           func(leader.Sink) func() { panic("not now") },
		"ends, then panics":                func(s leader.Sink) func() { s.End(errors.New("not now")); panic("not now") },
		"ends its goroutine":               func(leader.Sink) func() { runtime.Goexit(); return nil },
		"reports, then ends its goroutine": func(s leader.Sink) func() { s.Report(say("good")); runtime.Goexit(); return nil },
		"ends twice":                       func(s leader.Sink) func() { s.End(errors.New("not now")); s.End(nil); return nil },
		"reports after its end": func(s leader.Sink) func() {
			s.End(errors.New("not now"))
			s.Report(say("late"))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				s := new(starting)
				s.start = func(key string, sink leader.Sink) func() {
					if key == "k" && s.started("k") == 1 {
						return wrong(sink)
					}
					sink.Report(say("good"))
					return func() { sink.End(nil) }
				}
				c := s.single(t)
				mustYield(t, mustSubscribe(t, c, "other"), "good")
				sub := mustSubscribe(t, c, "k")
				mustYield(t, sub, "good")
				mustStayQuiet(t, sub)
				require.Equal(t, 2, s.started("k"))
			})
		})
	}
}

// A watch that was told to end is not followed by another one of that key before
// it has ended, is told once, and is not believed any more.
func TestStartedWatchThatEndsLate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sinks := make(chan leader.Sink, 10)
		var stops, begun atomic.Int32
		c := (&starting{start: func(_ string, sink leader.Sink) func() {
			n := begun.Add(1)
			sinks <- sink
			sink.Report(say(fmt.Sprint(n)))
			return func() {
				if stops.Add(1) > 1 { // all but the first one are prompt
					sink.End(nil)
				}
			}
		}}).single(t)
		first := mustSubscribe(t, c, "k")
		mustYield(t, first, "1")
		require.NoError(t, first.Close())
		time.Sleep(longEnough) // more than the linger
		require.EqualValues(t, 1, stops.Load())

		second := mustSubscribe(t, c, "k")
		time.Sleep(longEnough)
		require.EqualValues(t, 1, begun.Load(), "watches of one key")
		late := <-sinks
		late.Report(say("late"))
		_, known := second.Value()
		require.False(t, known, "a watch that was told to end is still believed")
		late.End(nil)
		mustYield(t, second, "2")
		require.EqualValues(t, 1, stops.Load())
		(<-sinks).End(nil) // which nobody has asked for: another one follows
		mustYield(t, second, "3")
	})
}
