package leader

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// inquiryPatience is how long a follower has to say what it holds. One that
// takes longer is stopped, or much too busy.
const inquiryPatience = time.Second

// maxInquiries is how many a follower may leave unanswered. One that is stopped
// is not asked again and again, for questions are kept until it takes them.
const maxInquiries = 16

// Ask asks all followers, or those whose instances are listed, what they hold,
// of key if that is not empty, and returns when all have answered or have had
// time to. The results are by instance.
func (l *Leader) Ask(ctx context.Context, key string, instances ...string) map[string]Answer {
	ctx, cancel := context.WithTimeout(ctx, inquiryPatience)
	defer cancel()
	var (
		mu      sync.Mutex
		answers = make(map[string]Answer)
		wg      sync.WaitGroup
	)
	for _, s := range l.allSessions() {
		if len(instances) > 0 && !slices.Contains(instances, s.peer.Instance) {
			continue
		}
		wg.Go(func() {
			h, err := s.ask(ctx, key)
			mu.Lock()
			defer mu.Unlock()
			answers[s.peer.Instance] = Answer{h, err}
		})
	}
	wg.Wait()
	return answers
}

// An Answer is what one follower holds, or why it is not known.
type Answer struct {
	Holding *inspect.Holding
	Err     error
}

// Trouble returns the error's text, empty when there is none.
func (a Answer) Trouble() string {
	if a.Err == nil {
		return ""
	}
	return a.Err.Error()
}

// ask sends the follower an inquiry and waits for the finding.
func (s *session) ask(ctx context.Context, key string) (*inspect.Holding, error) {
	if !s.answers {
		return nil, errors.New("an older build, which cannot be asked")
	}
	got := make(chan []byte, 1)
	s.mu.Lock()
	s.nextInquiry++
	id, full := s.nextInquiry, s.unanswered >= maxInquiries
	if !full {
		s.inquiries[id] = got
		s.unanswered++
	}
	s.mu.Unlock()
	if full {
		return nil, fmt.Errorf("it has left %d questions unanswered: it is stopped, or much too busy", maxInquiries)
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.inquiries, id)
	}()
	s.w.Send(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Inquiry{
		Inquiry: &clusterclientv1.Inquiry{Id: id, Key: key},
	}}, nil)
	select {
	case report := <-got:
		h := new(inspect.Holding)
		if err := json.Unmarshal(report, h); err != nil {
			return nil, fmt.Errorf("its answer does not decode: %w", err)
		}
		return h, nil
	case <-s.ended:
		return nil, errors.New("it has just left")
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer within %v: it is stopped, or much too busy", inquiryPatience)
	}
}

// takeFinding gives an answer to who asked.
func (s *session) takeFinding(f *clusterclientv1.Finding) {
	s.mu.Lock()
	got := s.inquiries[f.GetId()]
	delete(s.inquiries, f.GetId())
	s.unanswered = max(0, s.unanswered-1) // one may answer what it was not asked
	s.mu.Unlock()
	if got != nil {
		got <- f.GetReport()
	}
}
