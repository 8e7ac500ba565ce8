package follower

import (
	"sync"
	"time"
)

// closeAfter is how long a connection without streams is kept once its link has
// ended: closing it is nothing that anybody waits for, and there is another link
// to be made.
const closeAfter = 50 * time.Millisecond

// lingerLongest is how long the connection to a leader that has left in good
// order stays open for streams. The leader itself closes it before that, when
// it has nothing to send any more.
const lingerLongest = 2 * time.Second

// streams counts those on a link's connection, which can be closed once the link
// has ended and they have: what the leader sent of them may still be on its way
// when the session is over.
type streams struct {
	mu     sync.Mutex // guards what follows
	open   int
	ending func()      // closes the connection, once; nil until the link has ended, and after that
	late   *time.Timer // calls it
}

func (s *streams) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
}

func (s *streams) end() {
	s.mu.Lock()
	s.open--
	last := s.open == 0
	s.mu.Unlock()
	if last {
		s.finish()
	}
}

// endWith makes the end of the last stream call closeConn.
func (s *streams) endWith(closeConn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = closeConn
	most := lingerLongest
	if s.open == 0 {
		most = closeAfter
	}
	s.late = time.AfterFunc(most, s.finish)
}

// finish closes the connection if the link has ended and that has not been
// done.
func (s *streams) finish() {
	s.mu.Lock()
	ending := s.ending
	s.ending = nil
	if ending != nil && s.late != nil {
		s.late.Stop()
	}
	s.mu.Unlock()
	if ending != nil {
		ending()
	}
}
