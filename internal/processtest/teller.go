package processtest

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// tellAfterEnv is for how long a child may keep what it sees to itself. What is
// told at once costs every process some of the time in which something is to be
// measured; the time of an event is that at which it was seen in any case.
const tellAfterEnv = "CLUSTERCLIENT_TEST_TELL_AFTER"

// TellAfter returns an environment variable that lets a child tell what it sees
// d later, and log nothing but warnings. What a child that is killed has not
// told is lost.
func TellAfter(d time.Duration) string { return tellAfterEnv + "=" + d.String() }

// A teller writes events to stdout.
type teller struct {
	after time.Duration // 0 for at once

	mu      sync.Mutex // guards what follows, and stdout
	waiting []Event
}

func newTeller() *teller {
	after, _ := time.ParseDuration(os.Getenv(tellAfterEnv)) // 0 without
	return &teller{after: after}
}

// logLevel is how much the clients of a child log.
func (t *teller) logLevel() hclog.Level {
	if t.after > 0 {
		return hclog.Warn
	}
	return hclog.Debug
}

// tell writes e, now or later. Somebody waits for an answer, and after "left"
// the process ends.
func (t *teller) tell(e Event) {
	if e.At == 0 {
		e.At = time.Now().UnixNano()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, e)
	switch {
	case t.after == 0, e.Kind == "done", e.Kind == "left":
		t.writeLocked()
	case len(t.waiting) == 1:
		time.AfterFunc(t.after, func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.writeLocked()
		})
	}
}

// writeLocked writes what waits, each event a line.
func (t *teller) writeLocked() {
	var lines bytes.Buffer
	to := json.NewEncoder(&lines)
	for _, e := range t.waiting {
		if err := to.Encode(e); err != nil {
			panic(err)
		}
	}
	t.waiting = t.waiting[:0]
	_, _ = os.Stdout.Write(lines.Bytes())
}
