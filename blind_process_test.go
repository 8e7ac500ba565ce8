package clusterclient_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// The leader's way to the upstream is cut, and nobody else's: the values turn
// stale everywhere, one that reaches the upstream leads, and they are fresh
// again. The same then happens to that one, once the first one's way is mended.
func TestProcessBlindLeaderGivesWay(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "one")
	lines := map[*child]*processtest.Line{}
	var all []*child
	for range 4 {
		c, line := w.Spawn(), w.Line()
		create := w.Creation()
		create.Centre, create.Lasting, create.BlindAfter = line.Address(), true, 2*time.Second
		c.Must(create)
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s", States: true})
		lines[c] = line
		all = append(all, c)
	}
	blind, term := w.Settled(0, all)
	newest := func(stale bool, term uint64) func() bool {
		return func() bool {
			for _, c := range all {
				v := c.Values["s"]
				if len(v) == 0 || v[len(v)-1].Stale != stale || v[len(v)-1].Rev.Term != term {
					return false
				}
			}
			return true
		}
	}
	w.WaitFor("all values are fresh", newest(false, term))
	for round, data := range []string{"two", "three"} {
		cut := time.Now()
		lines[blind].Cut()
		w.WaitFor("all values are stale in the blind leader's term", newest(true, term))
		t.Logf("round %d: the last value was stale after %v", round, time.Since(cut))

		sees, later := w.Settled(term, all)
		t.Logf("round %d: another one leads after %v", round, time.Since(cut))
		require.NotEqual(t, blind.PID, sees.PID)
		w.WaitFor("all values are fresh again", newest(false, later))
		w.Centre.Set("k", data)
		w.Yielded(all, "s", data)

		lines[blind].Mend()
		w.WaitFor("one process is connected upstream", func() bool { return w.Centre.Open() == 1 })
		_, now := w.Settled(0, all)
		require.Equal(t, later, now, "a line that is mended changes nothing")
		blind, term = sees, later
	}
}
