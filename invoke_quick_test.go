package clusterclient_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/leader"
)

func mustEcho(t *testing.T, e *env, text string) {
	t.Helper()
	var got []byte
	require.NoError(t, e.Client.Invoke(t.Context(), "echo", []byte(text), &got))
	require.Equal(t, text, string(got))
}

func handleEcho(r *leader.Registry) {
	leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) { return b, nil })
}

// The handlers of two calls that are received together wait for each other.
func TestHandlersThatWaitForEachOther(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		start := time.Now()
		errs := make(chan error, 2)
		for _, method := range []string{"first", "second"} {
			go func() { errs <- e.Client.Invoke(t.Context(), method, []byte{}, nil) }()
		}
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		require.LessOrEqual(t, time.Since(start), time.Millisecond, "time until both were done")
	}, func(e *env) {
		met := make(chan struct{})
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "first", func(context.Context, []byte) ([]byte, error) { met <- struct{}{}; return nil, nil })
			leader.Handle(r, "second", func(context.Context, []byte) ([]byte, error) { <-met; return nil, nil })
		}
	})
}

// A handler that blocks delays neither those behind it nor cancellation.
func TestBlockedHandlerDelaysNobody(t *testing.T) {
	slowly(t, func(t *testing.T, e *env, m *slowMethod) {
		ctx, cancel := context.WithCancel(t.Context())
		blocked := make(chan error, 1)
		go func() { blocked <- e.Client.Invoke(ctx, "slow", []byte{}, nil) }()
		synctest.Wait()
		require.EqualValues(t, 1, m.started.Load())

		start := time.Now()
		require.Equal(t, codes.Unimplemented, status.Code(e.Client.Invoke(t.Context(), "other", []byte{}, nil)))
		require.LessOrEqual(t, time.Since(start), time.Millisecond, "time behind a handler that blocks")
		cancel()
		require.ErrorIs(t, <-blocked, context.Canceled)
		synctest.Wait()
		require.ErrorIs(t, m.why, context.Canceled)
	})
}

func TestHandlerThatEndsItsGoroutine(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for range 3 {
			err := e.Client.Invoke(t.Context(), "exit", []byte{}, nil)
			require.Equal(t, codes.Internal, status.Code(err), "%v", err)
			require.ErrorContains(t, err, `"exit" called runtime.Goexit in the leader`)
			mustEcho(t, e, "still here")
		}
		require.NoError(t, e.Client.InvokeOneway(t.Context(), "exit", []byte{}))
		mustEcho(t, e, "still here")
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			handleEcho(r)
			leader.Handle(r, "exit", func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
		}
	})
}

// A context outlives its call, and others that are received later.
func TestHandlerKeepsItsContext(t *testing.T) {
	const calls = 40
	var kept []context.Context
	eachRole(t, func(t *testing.T, e *env) {
		kept = nil
		deadlines := make([]time.Time, calls)
		for i := range calls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Minute)
			deadlines[i], _ = ctx.Deadline()
			ctx = metadata.AppendToOutgoingContext(ctx, "number", strconv.Itoa(i))
			require.NoError(t, e.Client.Invoke(ctx, "keep", []byte{}, nil))
			cancel()
		}
		require.Len(t, kept, calls)
		for i, ctx := range kept {
			require.ErrorIs(t, ctx.Err(), context.Canceled)
			<-ctx.Done()
			deadline, _ := ctx.Deadline()
			require.True(t, deadline.Equal(deadlines[i]), "deadline %v, want %v", deadline, deadlines[i])
			md, _ := metadata.FromIncomingContext(ctx)
			require.Equal(t, []string{strconv.Itoa(i)}, md["number"])
			method, _ := grpc.Method(ctx)
			require.Equal(t, "keep", method)
			_, known := leader.CallerFrom(ctx)
			require.True(t, known)
		}
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "keep", func(ctx context.Context, _ []byte) ([]byte, error) {
				kept = append(kept, ctx)
				return nil, nil
			})
		}
	})
}

// Calls that take now no time and now some are answered once each, and each
// with its own result.
func TestHandlersThatAreSometimesSlow(t *testing.T) {
	const callers, each = 50, 40
	var ran sync.Map // of text to *atomic.Int32
	eachRole(t, func(t *testing.T, e *env) {
		ran.Clear()
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for j := range each {
					mustEcho(t, e, string(rune('A'+i))+" "+time.Duration(j).String())
				}
			})
		}
		wg.Wait()
		calls := 0
		ran.Range(func(text, n any) bool {
			calls++
			require.EqualValues(t, 1, n.(*atomic.Int32).Load(), "runs of the handler for %q", text)
			return true
		})
		require.Equal(t, callers*each, calls)
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "echo", func(_ context.Context, b []byte) ([]byte, error) {
				n, _ := ran.LoadOrStore(string(b), new(atomic.Int32))
				n.(*atomic.Int32).Add(1)
				if rand.IntN(20) == 0 {
					time.Sleep(rand.N(3 * time.Millisecond))
				}
				return b, nil
			})
		}
	})
}
