package follower

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient/internal/patience"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// probePatience is how long a probe of the upstream may take.
const probePatience = 3 * time.Second

// probe answers a leader that asks whether this process could reach the
// upstream.
func (l *link) probe(q *clusterclientv1.Probe) {
	l.f.goUnlessClosed(func() {
		ctx, cancel := context.WithTimeout(l.ctx, probePatience)
		defer cancel()
		answer := &clusterclientv1.Probed{Id: q.GetId(), Reached: true}
		if err := l.f.reach(ctx); err != nil {
			answer.Reached, answer.Reason = false, strings.ToValidUTF8(err.Error(), "\uFFFD")
		}
		l.w.Send(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Probed{Probed: answer}}, nil)
	})
}

// reach returns why this process could not reach the upstream.
func (f *Follower) reach(ctx context.Context) error {
	if f.cfg.Probe == nil {
		return errors.New("it has no probe")
	}
	return patience.Run("the probe", func() error { return f.cfg.Probe(ctx) })
}
