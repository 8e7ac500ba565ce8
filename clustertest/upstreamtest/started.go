package upstreamtest

import (
	"cmp"
	"context"
	"errors"

	"github.com/clusterclient/clusterclient/leader"
)

// watch watches as the leader does: by StartWatch, where there is that.
func watch(ctx context.Context, up leader.Upstream, key string, sink func(leader.Update)) error {
	st, ok := up.(leader.Starter)
	if !ok {
		return up.Watch(ctx, key, sink)
	}
	s := &startedSink{report: sink, ended: make(chan error, 1)}
	stop := st.StartWatch(key, s)
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
