package upstreamtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// slowStart is how long StartWatch may take at most: the leader starts the
// watches of all keys one after the other.
const slowStart = 3 * time.Second

var errSlow = errors.New("it must not wait for the upstream")

// watch watches as the leader does: by StartWatch, where there is that.
func watch(ctx context.Context, up leader.Upstream, key string, sink func(leader.Update)) error {
	st, ok := up.(leader.Starter)
	if !ok {
		return up.Watch(ctx, key, sink)
	}
	s := &startedSink{report: sink, ended: make(chan error, 1)}
	began := time.Now()
	stop := st.StartWatch(key, s)
	if took := time.Since(began); took >= slowStart {
		if stop != nil {
			stop()
		}
		<-s.ended //nolint:errcheck // as below
		return fmt.Errorf("StartWatch took %v: %w", took, errSlow)
	}
	select {
	case err := <-s.ended:
		return cmp.Or(err, errors.New("the watch ended"))
	case <-ctx.Done():
	}
	if stop != nil {
		stop()
	}
	<-s.ended //nolint:errcheck // why a watch that was told to end has ended is of no interest
	return ctx.Err()
}

// startedSink is the sink of one watch that was started.
type startedSink struct {
	report func(leader.Update)
	ended  chan error // one slot
}

func (s *startedSink) Report(u leader.Update) { s.report(u) }

func (s *startedSink) End(err error) {
	select {
	case s.ended <- err:
	default:
	}
}
