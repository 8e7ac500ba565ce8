package upstreamtest

import (
	"context"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// A starter is an adapter whose Watch is not to be called.
type starter struct{ *adapter }

var _ leader.Starter = (*starter)(nil)

func (s *starter) Watch(context.Context, string, func(leader.Update)) error {
	panic("Watch of an adapter that has StartWatch")
}

func (s *starter) StartWatch(key string, sink leader.Sink) (stop func()) {
	if s.is(startsSlowly) {
		time.Sleep(slowStart)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := s.adapter.Watch(ctx, key, sink.Report)
		if s.is(neverEnds) {
			<-s.c.gone
		}
		sink.End(err)
	}()
	return cancel
}
