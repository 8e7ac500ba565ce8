package leader

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/internal/patience"
)

// A source starts the watches of an upstream, of whichever kind that is, and
// takes a panic, and the end of the goroutine, for the end of the watch.
type source struct {
	up  Upstream
	log hclog.Logger
}

// startPatience is how long StartWatch may take before it is complained of.
const startPatience = 3 * time.Second

// start begins a watch of key. stop is nil when that has failed, which sink was
// told. The upstream may end the goroutine that calls it: another one for each
// watch would cost too much where there are very many.
func (s source) start(key string, sink Sink) (stop func()) {
	if st, ok := s.up.(Starter); ok {
		returned := false
		defer func() {
			if p := recover(); !returned {
				sink.End(s.fault(key, p))
			}
		}()
		late := time.AfterFunc(startPatience, func() {
			s.log.Warn("the upstream's StartWatch blocks, no other watch is started meanwhile", "key", key, "for", startPatience)
		})
		defer late.Stop()
		stop = st.StartWatch(key, sink)
		returned = true
		return stop
	}
	ctx, cancel := context.WithCancel(context.Background())
	go s.watch(ctx, key, sink) // which ends when stop was called; sink then tells whoever waits
	return cancel
}

// watch runs a watch that takes a goroutine. Little is on the stack below it:
// there are as many as keys, and a stack that grows is copied.
func (s source) watch(ctx context.Context, key string, sink Sink) {
	var err error
	returned := false
	defer func() {
		if p := recover(); !returned {
			err = s.fault(key, p)
		}
		sink.End(err)
	}()
	err = s.up.Watch(ctx, key, sink.Report)
	returned = true
}

// stop ends a watch.
func (s source) stop(key string, stop func()) {
	if stop == nil {
		return
	}
	if _, ok := s.up.(Starter); !ok {
		stop() // which is ours
		return
	}
	err := patience.Run("the end of the upstream's watch", func() error { stop(); return nil })
	if f, ok := errors.AsType[*patience.Fault](err); ok {
		s.log.Error("watch not ended", "key", key, "error", f, "stack", string(f.Stack))
	}
}

// fault is why a watch has ended that panicked or, if that is nil, ended its
// goroutine.
func (s source) fault(key string, panicked any) error {
	if panicked == nil {
		s.log.Error("watch called runtime.Goexit", "key", key, "stack", string(debug.Stack()))
		return errors.New("the upstream's watch called runtime.Goexit")
	}
	s.log.Error("watch panicked", "key", key, "panic", panicked, "stack", string(debug.Stack()))
	return fmt.Errorf("the upstream's watch panicked: %v", panicked)
}
