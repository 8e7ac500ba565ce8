package soak

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	failovers = flag.Int("failovers", 2, "of each kind in TestFailover and TestFailoverPlain")
	followers = flag.Int("followers", 8, "in TestFailover and TestFailoverPlain")
	callPause = flag.Duration("callpause", 5*time.Millisecond, "of the two callers in each process in TestFailover; 0 for no callers")
)

// TestFailover measures what it costs a cluster at work that its leader goes,
// for each way of going: values change, processes call and are registered. It
// has no threshold: that would test the machine.
func TestFailover(t *testing.T) {
	measure(t, "at work", Config{ChangeEvery: 20 * time.Millisecond, CallPause: *callPause}, failoverKinds)
}

// TestFailoverPlain measures the takeover alone: one key, whose value changes
// with the leader and never besides, no calls, no registrations.
func TestFailoverPlain(t *testing.T) {
	measure(t, "plain", Config{Unlisted: true}, []string{Kill, Terminate, Resign})
}

// longestDir is how long the name of a directory may be for clusters in it to
// have sockets: 107 bytes are what the path of one may have, and 75 what comes
// below.
const longestDir = 107 - 75

func measure(t *testing.T, name string, cfg Config, kinds []string) {
	cfg.Processes, cfg.Names, cfg.Keys, cfg.Depose = *followers+1, 1, 1, *depose
	dir, err := os.MkdirTemp("", "soak") // a short name: the paths of sockets have to be
	require.NoError(t, err)
	defer func() { _ = os.RemoveAll(dir) }()
	if len(dir) > longestDir {
		t.Logf("the processes have no sockets but the port, since %s is too long a name", dir)
	}
	t.Setenv("TMPDIR", dir)
	all := map[string][]Failover{}
	for _, op := range kinds {
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
	t.Logf("the cluster, %s:\n%s", name, Summary(all))
}
