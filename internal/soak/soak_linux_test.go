package soak

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

var (
	length  = flag.Duration("soak", 0, "how long TestSoak runs, without the time at its end; 0 for a short while")
	seed    = flag.Uint64("seed", 0, "of the faults of TestSoak; 0 for a random one")
	episode = flag.Int("episode", 0, "the first one of TestSoak")
	depose  = flag.Duration("depose", 3*time.Second, "after which a leader that hangs is replaced in TestSoak and TestFailover")
	size    = flag.Int("processes", 0, "of TestSoak; 0 leaves it to the seed")
)

func TestMain(m *testing.M) { processtest.Main(m) }

// TestSoak runs a cluster under random faults and checks its history.
func TestSoak(t *testing.T) {
	for *seed == 0 {
		*seed = rand.Uint64() >> 32 // short ones are easier to copy
	}
	if *length == 0 {
		*length = 20 * time.Second
		if testing.Short() {
			*length = 5 * time.Second
		}
	}
	if *size == 0 {
		*size = 8 + int(*seed%9)
	}
	cfg := Config{
		Processes: *size, Names: 2, Keys: 6, Depose: *depose,
		ChangeEvery: 10 * time.Millisecond, CallPause: 30 * time.Millisecond, BusyPause: 10 * time.Millisecond, SlowReader: 50 * time.Millisecond,
	}
	limits := Limits{Length: 4 * time.Second, Deposed: *depose}
	t.Logf("seed %d, %d processes, %v", *seed, *size, *length)
	res, err := Run(cfg, limits, Rules{TermsOnce: true}, *seed, *episode, *length, t.Logf)
	if err != nil {
		t.Errorf("the run came to no end: %v; what is left of it is in %s", err, res.Dir)
	}
	for i, v := range res.Violations {
		if i < 10 {
			t.Errorf("%s: %s", v.Rule, v.Text)
		}
	}
	if len(res.Violations) > 0 {
		replay := Replay{Seed: *seed, Processes: *size, First: *episode, Bad: *episode + res.Episodes - 1, Length: *length, Dir: res.Dir}
		t.Log(replay.Explain(res.Records, res.Violations))
		return
	}
	t.Logf("%d faults in %d episodes, %d records, nothing broken: %s\n%s", res.Faults, res.Episodes, len(res.Records), res.Tally, Summary(Failovers(res.Records)))
}
