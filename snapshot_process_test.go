package clusterclient_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A host that restarts while its upstream is down: all processes are killed,
// the upstream is gone, and all start again.
func TestProcessRestartWithoutTheUpstream(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "one")
	creation := w.Creation()
	creation.Snapshot = filepath.Join(t.TempDir(), "s")
	start := func() (all []*child) {
		for range 3 {
			c := w.Spawn()
			c.Must(creation)
			all = append(all, c)
		}
		return all
	}
	before := start()
	for _, c := range before {
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s"})
	}
	w.Yielded(before, "s", "one")
	before[1].Must(command{Op: "publish", Key: "k", Data: "two"})
	w.Yielded(before, "s", "two")
	before[0].Must(command{Op: "close"}) // writes what is left
	w.Centre.Close()
	for _, c := range before {
		c.Kill()
		c.IsGone()
	}
	for _, c := range start() {
		e := c.Must(command{Op: "get", Key: "k"})
		require.Equal(t, "two", e.Data, "pid %d", c.PID)
		require.True(t, e.Stale, "pid %d says that the value is fresh", c.PID)
		require.Equal(t, "snapshot", e.Origin, "pid %d", c.PID)
	}
}
