package clusterclient_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/leader"
)

// A lookup is a method "lookup" that takes a second, or until its context
// ends, and fails for "bad".
type lookup struct {
	ran   atomic.Int32
	ended atomic.Int32 // those whose context ended
}

func (l *lookup) run(ctx context.Context, key []byte) ([]byte, error) {
	l.ran.Add(1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		l.ended.Add(1)
		return nil, ctx.Err()
	}
	if string(key) == "bad" {
		return nil, errors.New("no such thing")
	}
	return fmt.Appendf(nil, "%s #%d", key, l.ran.Load()), nil
}

// looksUp registers l, which is made anew for each test, with opts.
func looksUp(l **lookup, opts ...leader.MethodOption) func(*env) {
	return func(e *env) {
		*l = new(lookup)
		run := (*l).run
		e.Up.Methods = func(r *leader.Registry) { leader.Handle(r, "lookup", run, opts...) }
	}
}

func look(ctx context.Context, c *clusterclient.Client, key string) (string, error) {
	var got []byte
	err := c.Invoke(ctx, "lookup", []byte(key), &got)
	return string(got), err
}

func mustLook(t *testing.T, c *clusterclient.Client, key, want string) {
	t.Helper()
	got, err := look(t.Context(), c, key)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestCoalescedCallsOfManyProcesses(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		var l lookup
		up.Methods = func(r *leader.Registry) { leader.Handle(r, "lookup", l.run, leader.Coalesce()) }
		var nodes []*clustertest.Node
		for range 4 {
			nodes = append(nodes, cluster.Start())
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { mustLook(t, nodes[i%len(nodes)].Client, "a", "a #1") })
		}
		wg.Wait()
		require.EqualValues(t, 1, l.ran.Load(), "runs for 100 identical calls at the same time")
		mustLook(t, nodes[0].Client, "a", "a #2")
	})
}

func TestCoalescedCalls(t *testing.T) {
	var l *lookup
	eachRole(t, func(t *testing.T, e *env) {
		results := make(chan error, 3)
		for _, key := range []string{"bad", "bad", "good"} {
			go func() {
				_, err := look(t.Context(), e.Client, key)
				results <- err
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 2, l.ran.Load(), "runs for two arguments")

		// Whoever gives up, even the first, takes nothing from the others.
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := look(ctx, e.Client, "c")
			first <- err
		}()
		synctest.Wait()
		go func() {
			_, err := look(t.Context(), e.Client, "c")
			results <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-first, context.Canceled)
		failed := 0
		for range cap(results) + 1 {
			if err := <-results; err != nil {
				require.ErrorContains(t, err, "no such thing")
				failed++
			}
		}
		require.Equal(t, 2, failed, "calls that got the error of the run they shared")
		require.Zero(t, l.ended.Load(), "runs that were cancelled")
	}, looksUp(&l, leader.Coalesce()))
}

func TestCoalescedRunEndsWithItsLastCaller(t *testing.T) {
	var l *lookup
	eachRole(t, func(t *testing.T, e *env) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_, err := look(ctx, e.Client, "a")
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		wg.Wait()
		synctest.Wait()
		require.EqualValues(t, 1, l.ran.Load())
		require.EqualValues(t, 1, l.ended.Load(), "runs whose context ended")
		mustLook(t, e.Client, "a", "a #2") // not the one that was cancelled
	}, looksUp(&l, leader.Coalesce()))
}

func TestCachedCalls(t *testing.T) {
	var l *lookup
	eachRole(t, func(t *testing.T, e *env) {
		mustLook(t, e.Client, "a", "a #1")
		start := time.Now()
		mustLook(t, e.Client, "a", "a #1")
		require.Zero(t, time.Since(start), "time that a kept result takes")
		mustLook(t, e.Client, "b", "b #2")
		time.Sleep(time.Minute)
		mustLook(t, e.Client, "a", "a #3")

		for range 2 {
			_, err := look(t.Context(), e.Client, "bad")
			require.ErrorContains(t, err, "no such thing")
		}
		require.EqualValues(t, 5, l.ran.Load(), "errors are not kept")
	}, looksUp(&l, leader.CacheFor(time.Minute)))
}

func TestLimitedCalls(t *testing.T) {
	var l *lookup
	eachRole(t, func(t *testing.T, e *env) {
		var wg sync.WaitGroup
		for i := range 2 {
			wg.Go(func() {
				_, err := look(t.Context(), e.Client, fmt.Sprint(i))
				require.NoError(t, err)
			})
		}
		synctest.Wait()
		start := time.Now()
		_, err := look(t.Context(), e.Client, "third")
		require.Equal(t, codes.ResourceExhausted, status.Code(err), "%v", err)
		require.ErrorIs(t, err, clusterclient.ErrLimit)
		require.ErrorContains(t, err, `"lookup" runs 2 times already, which is its limit`)
		require.Zero(t, time.Since(start), "time until the refusal")
		wg.Wait()
		_, err = look(t.Context(), e.Client, "later")
		require.NoError(t, err)
	}, looksUp(&l, leader.Limit(2)))
}
