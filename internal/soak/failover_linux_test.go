package soak

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	failovers = flag.Int("failovers", 2, "of each kind in TestFailover")
	followers = flag.Int("followers", 8, "in TestFailover")
	callPause = flag.Duration("callpause", 5*time.Millisecond, "of the two callers in each process in TestFailover; 0 for no callers")
)

// TestFailover measures what it costs that a leader goes, for each way of
// going. It has no threshold: that would test the machine.
func TestFailover(t *testing.T) {
	cfg := Config{
		Processes: *followers + 1, Names: 1, Keys: 1, Depose: *depose,
		ChangeEvery: 20 * time.Millisecond, CallPause: *callPause, TellAfter: 50 * time.Millisecond,
	}
	dir, err := os.MkdirTemp("", "soak") // a short name: the paths of sockets have to be
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	t.Setenv("TMPDIR", dir)
	all := map[string][]Failover{}
	for _, op := range failoverKinds {
		t.Run(op, func(t *testing.T) {
			records, err := Measure(cfg, op, *failovers)
			require.NoError(t, err)
			all[op] = Failovers(records)[op]
			require.NotEmpty(t, all[op])
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, left, "files that are left")
		})
	}
	t.Logf("\n%s", Summary(all))
}
