package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// mustExplain waits until explain prints something of a key, which a pattern
// says, and checks that the run-book quotes it.
func mustExplain(t *testing.T, tl *tool, key, printed, quoted string) {
	t.Helper()
	book, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	require.Contains(t, string(book), "`"+quoted+"`")
	pattern := regexp.MustCompile(printed)
	until(t, "explain prints "+printed, func() bool {
		return pattern.MatchString(strings.Join(strings.Fields(tl.run(t, "explain", key).out), " "))
	})
}

// Each place where a value can be stuck is planted, and explain says what the
// run-book says that it does.
func TestRunBookOfAnOldValue(t *testing.T) {
	tl, w := begin(t)
	slow := w.Creation()
	slow.Centre, slow.PerSecond = "", 1<<20
	all := startWith(w, w.Creation(), w.Creation(), slow)
	mustExplain(t, tl, "never asked for", "upstream unwatched", "upstream unwatched")

	busy := processtest.Command{Op: "subscribe", Key: "loop", Tag: "loop", Pause: patience, Quiet: true}
	w.Centre.Set("loop", "1")
	all[1].Must(busy)
	w.Yielded(all[1:2], "loop", "1")
	w.Centre.Set("loop", "2")
	mustExplain(t, tl, "loop", "subscription at 1.1, which has not taken the newest", "subscription at T.N, which has not taken the newest")

	all[2].Must(processtest.Command{Op: "subscribe", Key: "large", Tag: "large", Quiet: true})
	keepChanging(t, w, 4*time.Second, 16<<20, "large")
	mustExplain(t, tl, "large", "pid "+strconv.Itoa(all[2].PID)+` \(clusterctl\.test\), \d+ values? behind`, "N values behind")

	stop(t, all[1])
	mustExplain(t, tl, "loop", "no answer within 1s", "no answer within 1s")

	w.Centre.Close()
	mustExplain(t, tl, "loop", "upstream retrying, after", "upstream retrying")
	mustExplain(t, tl, "loop", "leader pid "+strconv.Itoa(all[0].PID)+` \(clusterctl\.test\) at 127\.0\.0\.1:`+strconv.Itoa(w.Port)+", term 1 stale ", "stale")
}
