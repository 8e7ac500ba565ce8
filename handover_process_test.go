package clusterclient_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A traffic is what goes on around processes that are replaced: a value
// changes, and somebody connects to the port.
type traffic struct {
	over    chan struct{}
	running sync.WaitGroup
	dialled int
}

func beginTraffic(t *testing.T, w *world) *traffic {
	r := &traffic{over: make(chan struct{})}
	var changed int
	r.running.Go(func() {
		r.each(2*time.Millisecond, func() { changed++; w.Centre.Set("n", strconv.Itoa(changed)) })
	})
	r.running.Go(func() {
		r.each(time.Millisecond, func() {
			conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", w.Port))
			if assert.NoError(t, err, "the port is always there") {
				r.dialled++
				_ = conn.Close()
			}
		})
	})
	return r
}

func (r *traffic) each(d time.Duration, do func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-r.over:
			return
		}
	}
}

func (r *traffic) end() {
	close(r.over)
	r.running.Wait()
}

// watchAll begins what each process does in a test of hand-overs.
func watchAll(c *child) {
	c.Must(command{Op: "close all, when terminated"})
	c.Must(command{Op: "subscribe", Key: "n", Tag: "n", States: true, Quiet: true})
	beginCalls(c)
	c.Must(command{Op: "loop", Method: processtest.Chat, Tag: "streams"})
}

// restAll ends that.
func restAll(c *child) {
	endCalls(c)
	c.Must(command{Op: "end", Tag: "streams"})
	c.Must(command{Op: "end", Tag: "n"})
}

// nobodyNoticed holds that no value was stale or went back, and that no call and
// no stream failed.
func nobodyNoticed(w *world, all []*child) {
	w.T.Helper()
	noCallFailed(w, all)
	w.Lock()
	defer w.Unlock()
	for _, c := range all {
		require.NotEmpty(w.T, c.Calls["streams"])
		for _, e := range c.Calls["streams"] {
			require.Empty(w.T, e.Err, "pid %d: stream %q", c.PID, e.Data)
			require.Len(w.T, w.Centre.Runs[e.Data], 1, "stream %q", e.Data)
		}
		last, values := -1, c.Values["n"]
		require.NotEmpty(w.T, values)
		for i, e := range values {
			n, _ := strconv.Atoi(e.Data)
			require.GreaterOrEqual(w.T, n, last, "pid %d: %v came after %v", c.PID, e.Rev, values[max(0, i-1)].Rev)
			require.False(w.T, e.Stale, "pid %d: %d at %v is stale: %s", c.PID, n, e.Rev, e.Reason)
			last = n
		}
	}
}

// Every process is replaced, and what the others see goes on.
func TestProcessRollingRestartUnnoticed(t *testing.T) {
	for name, goes := range map[string]func(*child){
		"Close":   func(c *child) { c.Must(command{Op: "close"}); c.EndInput() },
		"SIGTERM": func(c *child) { c.Die(func() { c.Signal(syscall.SIGTERM) }) },
	} {
		t.Run(name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("sockets cannot be handed over, and there is no SIGTERM")
			}
			w := processtest.New(t)
			w.Centre.Set("n", "0")
			all := w.Start(4)
			for _, c := range all {
				watchAll(c)
			}
			w.Settled(0, all)
			r := beginTraffic(t, w)
			everybody := slices.Clone(all)
			for range len(all) * processtest.Rounds(3, 1) {
				old := all[0]
				restAll(old)
				goes(old)
				old.IsGone()
				next := w.Start(1)[0]
				watchAll(next)
				all, everybody = append(all[1:], next), append(everybody, next)
				callsGoOn(w, all)
			}
			for _, c := range all {
				restAll(c)
			}
			r.end()
			require.Positive(t, r.dialled)
			nobodyNoticed(w, everybody)
			w.WaitFor("one process is connected upstream", func() bool { return w.Centre.Open() == 1 })
		})
	}
}
