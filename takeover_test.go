package clusterclient_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTakeoverTime measures, in real processes, how long it takes from kill -9
// of the leader until every follower holds a value that the upstream vouched
// for in the new term. It has no threshold: that would test the machine.
func TestTakeoverTime(t *testing.T) {
	w := newWorld(t)
	w.centre.Set("k", "v")
	all := w.start(9)
	for _, c := range all {
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	leader, term := w.settled(0, all)
	w.confirmedIn(all, term)
	var took []time.Duration
	for range rounds(30, 5) {
		killed := time.Now().UnixNano()
		leader.kill()
		all = without(all, leader)
		leader, term = w.settled(term, all)
		w.confirmedIn(all, term)
		last := read(w, func() (last int64) {
			for _, c := range all {
				last = max(last, c.confirmed["s"].At)
			}
			return last
		})
		took = append(took, time.Duration(last-killed))

		c := w.start(1)[0]
		c.must(command{Op: "subscribe", Key: "k", Tag: "s"})
		all = append(all, c)
		w.confirmedIn(all, term)
	}
	slices.Sort(took)
	t.Logf("takeover, 8 followers, %d rounds: median %v, maximum %v", len(took), took[len(took)/2], took[len(took)-1])
	for _, c := range all {
		require.LessOrEqual(t, read(w, func() int { return len(c.values["s"]) }), 1, "a takeover alone is no news")
	}
}
