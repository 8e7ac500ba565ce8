package leader

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/patience"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

const (
	// probeEvery is how often an upstream that can be probed is, while all is
	// well, and probeAgain how soon after a probe there may be another one.
	probeEvery = 5 * time.Second
	probeAgain = time.Second

	// probePatience is how long a probe may take.
	probePatience = 3 * time.Second

	// probeLate is how much later than that a probe may end before that shows
	// that this process did not get to run itself.
	probeLate = time.Second
)

// A sight is what a leader knows of its way to the upstream.
//
//	        a probe failed, and a watch or another probe did, too;
//	        without a Prober: every watch has failed
//	      ┌────────────────────────────────────────────────────────┐
//	seeing                                                          ▼
//	      ▲                                                       blind
//	      └────────────────────────────────────────────────────────┘
//	        a probe succeeded, or a watch reported
//
// When the leader turns blind nothing is vouched for any more, and every watch
// is begun anew: one that was silent may have been forgotten.
type sight struct {
	l       *Leader
	blind   atomic.Bool   // since is set
	reports atomic.Uint64 // of watches
	doubt   chan struct{} // one slot: a watch has failed; nil without a Prober
	doubted bool          // one has, since the last probe; of look
	sees    atomic.Uint64 // how often it saw again, and all watches were tried again for that

	mu     sync.Mutex // guards what follows; taken last
	since  time.Time  // when the leader turned blind; zero while it sees
	reason string
	eager  time.Time // when all watches were last tried again for seeing again
}

// start begins to look, if the upstream can be probed.
func (g *sight) start(l *Leader) {
	g.l = l
	if p, ok := l.up.(Prober); ok {
		g.doubt = make(chan struct{}, 1)
		l.work.Go(func() { g.look(p) })
	}
}

// Sight returns since when, and why, the leader has not reached its upstream;
// the zero time when it does.
func (l *Leader) Sight() (since time.Time, reason string) {
	if l.up == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.absent {
			return time.Time{}, ""
		}
		return l.since, l.absence
	}
	l.sight.mu.Lock()
	defer l.sight.mu.Unlock()
	return l.sight.since, l.sight.reason
}

// heartbeat is what the leader's own loop has to say to everybody.
func (l *Leader) heartbeat() *clusterclientv1.Heartbeat {
	f := &clusterclientv1.Heartbeat{Term: l.Term(), Followers: uint32(l.present.Load())} //nolint:gosec // there are not so many processes
	if since, reason := l.Sight(); !since.IsZero() {
		f.Blindness = &clusterclientv1.Blindness{Since: since.UnixNano(), Reason: clean(reason)}
	}
	return f
}

// reported takes notice that the upstream has been heard of.
func (g *sight) reported() {
	g.reports.Add(1)
	if g.blind.Load() {
		g.see()
	}
}

// failed takes notice that a watch has failed.
func (g *sight) failed(reason string) {
	switch {
	case g.doubt != nil:
		select {
		case g.doubt <- struct{}{}:
		default:
		}
	case !g.blind.Load() && !g.l.vouchedForAny():
		g.lose(reason)
		if g.l.vouchedForAny() { // it was just reported
			g.see()
		}
	}
}

// vouchedForAny reports whether the upstream vouches for any key.
func (l *Leader) vouchedForAny() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.keys {
		k.mu.Lock()
		vouched := k.vouchedLocked()
		k.mu.Unlock()
		if vouched {
			return true
		}
	}
	return false
}

// forget makes a leader that knows of its blindness from watches alone see
// when there is none left.
func (g *sight) forget() {
	if g.doubt == nil && g.blind.Load() && len(g.l.allKeys()) == 0 {
		g.see()
	}
}

// look probes until the leadership ends.
func (g *sight) look(p Prober) {
	for last := (time.Time{}); g.wait(last); last = time.Now() {
		g.examine(p)
	}
}

// wait returns when it is time for a probe, the last of which was at last;
// false when the leadership is over.
func (g *sight) wait(last time.Time) bool {
	if g.blind.Load() {
		return g.l.sleep(probeAgain)
	}
	t := time.NewTimer(probeEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-g.l.ctx.Done():
		return false
	case <-g.doubt:
	}
	g.doubted = true
	return g.l.sleep(time.Until(last.Add(probeAgain)))
}

// examine probes until it is known how things are, which takes two witnesses
// to something bad.
func (g *sight) examine(p Prober) {
	witnesses := 0
	if g.doubted || g.blind.Load() {
		witnesses, g.doubted = 1, false
	}
	for {
		before := g.reports.Load()
		err := g.probe(p)
		if g.l.ctx.Err() != nil {
			return
		}
		if err == nil {
			g.see()
			return
		}
		if errors.Is(err, errStarved) || g.reports.Load() != before {
			return
		}
		if witnesses++; witnesses >= 2 {
			g.lose(err.Error())
			return
		}
	}
}

// errStarved is that of a probe which says nothing.
var errStarved = errors.New("the process did not get to run")

// probe asks the upstream whether it is there.
func (g *sight) probe(p Prober) error {
	ctx, cancel := context.WithTimeout(g.l.ctx, probePatience)
	defer cancel()
	began := time.Now()
	err := patience.Run("the probe", func() error { return p.Probe(ctx) })
	if err != nil && time.Since(began) > probePatience+probeLate {
		return errStarved
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("the upstream has not answered within %v: %w", probePatience, err)
	}
	return err
}

// lose makes the leader blind.
func (g *sight) lose(reason string) {
	g.mu.Lock()
	if g.blind.Swap(true) {
		g.reason = reason
		g.mu.Unlock()
		return
	}
	at := time.Now()
	g.since, g.reason = at, reason
	g.mu.Unlock()
	if g.doubt == nil {
		return // every watch has failed, which was told already
	}
	g.tell()
	keys := g.l.allKeys()
	if len(keys) == 0 { // else the complaint tells of it
		g.l.log.Warn("the upstream is lost", "reason", reason)
	}
	lost := errors.New(reason)
	for _, k := range keys {
		if k.lose(reason, at) {
			g.l.trouble.note(k.name, lost)
		}
		k.watchAnew(lost)
	}
}

// see makes the leader see.
func (g *sight) see() {
	g.mu.Lock()
	if !g.blind.Swap(false) {
		g.mu.Unlock()
		return
	}
	lasted := time.Since(g.since)
	g.since, g.reason = time.Time{}, ""
	eager := time.Since(g.eager) >= upstreamRetryFirst
	if eager {
		g.eager = time.Now()
		g.sees.Add(1)
	}
	g.mu.Unlock()
	if lasted >= time.Second {
		g.l.log.Info("the upstream is in reach again", "after", lasted.Round(time.Millisecond))
	}
	g.tell()
	if !eager { // watches that report and fail at once make it see time and again
		return
	}
	for _, k := range g.l.allKeys() {
		k.unpause()
	}
}

// tell has every follower know at once.
func (g *sight) tell() {
	for _, s := range g.l.allSessions() {
		s.dueBeat()
	}
}
