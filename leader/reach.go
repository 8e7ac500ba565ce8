package leader

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// Reaches asks candidates, at most so many at a time and other ones the next
// time, whether they could reach the upstream, and returns one that can. The
// error says what the others answered.
func (l *Leader) Reaches(ctx context.Context, most int) (Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, probePatience+probeLate)
	defer cancel()
	asked := l.someCandidates(most)
	if len(asked) == 0 {
		return Peer{}, errors.New("there is no other candidate that could be asked")
	}
	type answer struct {
		s   *session
		err error
	}
	answers := make(chan answer, len(asked))
	for _, s := range asked {
		go func() { answers <- answer{s, s.reaches(ctx)} }() // ends with ctx
	}
	var all []error
	for range asked {
		a := <-answers
		if a.err == nil {
			return a.s.peer, nil
		}
		all = append(all, fmt.Errorf("%v: %w", a.s, a.err))
	}
	return Peer{}, errors.Join(all...)
}

// someCandidates returns sessions of other clients that can be asked for the
// upstream.
func (l *Leader) someCandidates(most int) []*session {
	all := slices.DeleteFunc(l.allSessions(), func(s *session) bool { return !s.probes || s.own() })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(most, len(all))]
}

// reaches asks the follower whether it could reach the upstream, and returns
// why not.
func (s *session) reaches(ctx context.Context) error {
	got := make(chan *clusterclientv1.Probed, 1)
	s.mu.Lock()
	before := s.probed
	if before == nil {
		s.probeID++
		s.probed = got
	}
	id := s.probeID
	s.mu.Unlock()
	if before != nil {
		return errors.New("it has not answered the last time")
	}
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Probe{
		Probe: &clusterclientv1.Probe{Id: id},
	}}, nil)
	select {
	case f := <-got:
		if !f.GetReached() {
			return errors.New(f.GetReason())
		}
		return nil
	case <-s.ended:
		return errors.New("it has just left")
	case <-ctx.Done():
		return errors.New("no answer in time")
	}
}

// takeProbed gives an answer to who asked.
func (s *session) takeProbed(f *clusterclientv1.Probed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probed != nil && f.GetId() == s.probeID {
		s.probed <- f
		s.probed = nil
	}
}

// Name makes p the one to lead next, when this leader leaves; others leave the
// leadership to it for a moment.
func (l *Leader) Name(p Peer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.sessions {
		if s.peer.Instance == p.Instance {
			l.successor = s.proto.GetInstance()
		}
	}
}

// leavingFrame is what tells a follower that the leadership is about to end.
func (l *Leader) leavingFrame(reason string, last bool) *clusterclientv1.Leaving {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &clusterclientv1.Leaving{Reason: clean(reason), Last: last, Successor: l.successor}
}
