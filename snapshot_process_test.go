package clusterclient_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
	"github.com/clusterclient/clusterclient/internal/snapshot"
)

var writerKills = flag.Int("writer-kills", 10, "of leaders that write a snapshot")

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

// A leader is killed at any moment while it writes what the upstream reports all
// the time. What is on disk then was reported, is whole, and is not older than
// what was there before.
func TestProcessLeaderIsKilledWhileWriting(t *testing.T) {
	w := processtest.New(t)
	dir := filepath.Join(t.TempDir(), "s")
	creation := w.Creation()
	creation.Snapshot = dir
	newest, last, grew := 0, -1, 0
	for n := range *writerKills {
		c := w.Spawn()
		c.Must(creation)
		c.Must(command{Op: "subscribe", Key: "k", Tag: "s", Quiet: true})
		for dies := time.Now().Add(rand.N(500 * time.Millisecond)); time.Now().Before(dies); newest++ { // it writes five times a second
			w.Centre.Set("k", numberedValue(newest))
			time.Sleep(5 * time.Millisecond)
		}
		c.Kill()
		c.IsGone()
		got := savedNumber(t, dir)
		require.GreaterOrEqual(t, got, last, "kill %d: the value went back", n)
		require.Less(t, got, newest, "kill %d: the value was never reported", n)
		if got > last {
			grew++
		}
		last = got
	}
	t.Logf("%d leaders were killed; %d times there was a newer value on disk", *writerKills, grew)
	require.Positive(t, grew, "nothing was written")
}

// numberedValue returns a value that can be told from any that is not whole; some
// take a while to be written.
func numberedValue(n int) string {
	return fmt.Sprint(n, " ", strings.Repeat(string(rune('a'+n%26)), n%7<<16))
}

// savedNumber returns the number of the value on disk, -1 when there is none.
func savedNumber(t *testing.T, dir string) int {
	t.Helper()
	s := snapshot.Open(snapshot.Config{Dir: dir, Name: processtest.Name, Logger: hclog.NewNullLogger()})
	defer s.Close()
	v, ok := s.Get("k")
	if !ok || v.Deleted { // as the key is until the first value
		return -1
	}
	var n int
	_, err := fmt.Sscan(string(v.Data), &n)
	require.NoError(t, err)
	require.Equal(t, numberedValue(n), string(v.Data), "a value that was never reported")
	return n
}
