package etcd_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/leader"
)

// soon bounds the wait for anything that is bound to happen.
const soon = 30 * time.Second

// A watching is one call of Watch.
type watching struct {
	t       *testing.T
	updates chan leader.Update
	cancel  context.CancelFunc
	err     chan error
}

// watch calls Watch until the test ends it or ends itself. sink runs before
// the update can be received.
func watch(ctx context.Context, t *testing.T, up leader.Upstream, key string, sink func(leader.Update)) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	w := &watching{t: t, updates: make(chan leader.Update, 1000), cancel: cancel, err: make(chan error, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		w.err <- up.Watch(ctx, key, func(u leader.Update) {
			sink(u)
			w.updates <- u
		})
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return w
}

func ignore(leader.Update) {}

// next returns the next update.
func (w *watching) next() leader.Update {
	w.t.Helper()
	select {
	case u := <-w.updates:
		return u
	case err := <-w.err:
		w.err <- err
		w.t.Fatalf("Watch = %v, want another update", err)
	case <-time.After(soon):
		w.t.Fatalf("Watch reported nothing for %v", soon)
	}
	return leader.Update{}
}

// ended returns the error with which Watch returns.
func (w *watching) ended() error {
	w.t.Helper()
	select {
	case err := <-w.err:
		require.Error(w.t, err)
		return err
	case <-time.After(soon):
		w.t.Fatalf("Watch did not return for %v", soon)
	}
	return nil
}
