package leader

import (
	"strconv"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A stream has to be admitted in the session before it is opened beside it.
//
// Streams are gRPC's own: when one breaks off, nobody can tell whether its
// handler was started. In the session that is certain. A leader that leaves
// admits no more, and waits for what it has admitted as it waits for calls.
//
//	            Admit                  the stream comes
//	(none) ───────────────▶ ticket ───────────────────────▶ running
//	   ▲                      │ Cancel, the session ends,
//	   └──────────────────────┘ the leadership does

// admitStream issues a ticket for one stream.
func (s *session) admitStream(f *clusterclientv1.Admit) {
	c := newCall(s, &wire.Call{ID: f.GetId(), Method: f.GetMethod()})
	c.ticket = true
	refusal := s.enter(c)
	if refusal != nil {
		c.answer(refusal)
		return
	}
	c.answer(&wire.Reply{})
	s.w.Expect(-1)
}

// takeTicket returns the ticket called id, which then is one no more; nil when
// it is none.
func (s *session) takeTicket(id uint64) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	if c == nil || !c.ticket {
		return nil
	}
	delete(s.calls, id)
	return c
}

// void takes a ticket back: nobody waits for its stream any more.
func (s *session) void(id uint64) {
	if c := s.takeTicket(id); c != nil {
		s.l.finish(c)
	}
}

// redeem lets a stream in for a ticket, which has been counted as running; false
// means that it was taken back meanwhile.
func (l *Leader) redeem(ticket string, c *call) bool {
	id, err := strconv.ParseUint(ticket, 10, 64)
	if err != nil || l.mayAct() != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || c.s.takeTicket(id) == nil {
		return false
	}
	l.loose[c] = struct{}{}
	return true
}
