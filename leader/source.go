package leader

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A source starts the watches of an upstream, of whichever kind that is, and
// takes a panic for the end of the watch.
type source struct {
	up  Upstream
	log hclog.Logger
}

// startPatience is how long StartWatch may take before it is complained of.
const startPatience = 3 * time.Second

// start begins a watch of key. stop is nil when that has failed, which sink was
// told.
func (s source) start(key string, sink Sink) (stop func()) {
	if st, ok := s.up.(Starter); ok {
		defer func() {
			if err := s.recovered(key, recover()); err != nil {
				sink.End(err)
			}
		}()
		late := time.AfterFunc(startPatience, func() {
			s.log.Warn("the upstream's StartWatch blocks, no other watch is started meanwhile", "key", key, "for", startPatience)
		})
		defer late.Stop()
		return st.StartWatch(key, sink)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go s.watch(ctx, key, sink) // which ends when stop was called; sink then tells whoever waits
	return cancel
}

// watch runs a watch that takes a goroutine. Little is on the stack below it:
// there are as many as keys, and a stack that grows is copied.
func (s source) watch(ctx context.Context, key string, sink Sink) {
	var err error
	defer func() {
		if p := s.recovered(key, recover()); p != nil {
			err = p
		}
		sink.End(err)
	}()
	err = s.up.Watch(ctx, key, sink.Report)
}

// stop ends a watch.
func (s source) stop(key string, stop func()) {
	if stop == nil {
		return
	}
	defer func() { _ = s.recovered(key, recover()) }()
	stop()
}

func (s source) recovered(key string, panicked any) error {
	if panicked == nil {
		return nil
	}
	s.log.Error("watch panicked", "key", key, "panic", panicked, "stack", string(debug.Stack()))
	return fmt.Errorf("the upstream's watch panicked: %v", panicked)
}
