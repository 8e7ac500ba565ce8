package clustertest

import (
	"maps"
	"sync"

	"github.com/clusterclient/clusterclient/leader"
)

// starter is a connection whose watches share one goroutine, which ends with
// the connection.
type starter struct {
	*connection

	mu      sync.Mutex // guards what follows
	watches map[*watcher]leader.Sink
	stopped map[*watcher]bool
}

var _ leader.Starter = (*starter)(nil)

func newStarter(c *connection) *starter {
	s := &starter{connection: c, watches: make(map[*watcher]leader.Sink), stopped: make(map[*watcher]bool)}
	c.bell = make(chan struct{}, 1)
	go s.run()
	return s
}

// StartWatch does what Watch does.
func (s *starter) StartWatch(key string, sink leader.Sink) (stop func()) {
	w, err := s.watch(key, s.bell)
	if err != nil {
		sink.End(err)
		return nil
	}
	s.mu.Lock()
	s.watches[w] = sink
	s.mu.Unlock()
	w.ring()
	return func() {
		s.mu.Lock()
		s.stopped[w] = true
		s.mu.Unlock()
		w.ring()
	}
}

// run serves all watches until the connection has ended.
func (s *starter) run() {
	for range s.bell {
		s.mu.Lock()
		watches := maps.Clone(s.watches)
		s.mu.Unlock()
		for w, sink := range watches {
			s.serve(w, sink)
		}
		if s.isClosed() {
			return
		}
	}
}

func (s *starter) serve(w *watcher, sink leader.Sink) {
	updates, err := s.take(w)
	s.mu.Lock()
	over := s.stopped[w] || err != nil
	if over {
		delete(s.watches, w)
		delete(s.stopped, w)
	}
	s.mu.Unlock()
	for _, v := range updates {
		sink.Report(v)
	}
	if over {
		s.unwatch(w)
		sink.End(err)
	}
}

// isClosed reports whether nobody is left to be served.
func (s *starter) isClosed() bool {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	return s.closed != nil && len(s.watchers) == 0
}

// connectionOf returns what is behind what Open has returned.
func connectionOf(opened leader.Upstream) *connection {
	if s, ok := opened.(*starter); ok {
		return s.connection
	}
	return opened.(*connection)
}
