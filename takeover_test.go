package clusterclient_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// TestTakeoverTime measures, in real processes, how long it takes from kill -9
// of the leader until every follower holds a value that the upstream vouched
// for in the new term. It has no threshold: that would test the machine.
func TestTakeoverTime(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "v")
	all := w.Start(9)
	for _, c := range all {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	leader, term := w.Settled(0, all)
	w.ConfirmedIn(all, term)
	var took []time.Duration
	for range processtest.Rounds(30, 5) {
		killed := time.Now().UnixNano()
		leader.Kill()
		all = processtest.Without(all, leader)
		leader, term = w.Settled(term, all)
		w.ConfirmedIn(all, term)
		last := processtest.Read(w, func() (last int64) {
			for _, c := range all {
				last = max(last, c.Confirmed["s"].At)
			}
			return last
		})
		took = append(took, time.Duration(last-killed))

		c := w.Start(1)[0]
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
		all = append(all, c)
		w.ConfirmedIn(all, term)
	}
	slices.Sort(took)
	t.Logf("takeover, 8 followers, %d rounds: median %v, maximum %v", len(took), took[len(took)/2], took[len(took)-1])
	for _, c := range all {
		require.LessOrEqual(t, processtest.Read(w, func() int { return len(c.Values["s"]) }), 1, "a takeover alone is no news")
	}
}
