package clusterclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
)

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// with returns the lines that have all parts in them.
func (b *logbook) with(parts ...string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []string
lines:
	for line := range strings.Lines(b.text.String()) {
		for _, p := range parts {
			if !strings.Contains(line, p) {
				continue lines
			}
		}
		found = append(found, strings.TrimSpace(line))
	}
	return found
}

// option makes a client log into b.
func (b *logbook) option() clusterclient.Option {
	return clusterclient.WithLogger(hclog.New(&hclog.LoggerOptions{Output: b, Level: hclog.Debug}))
}

func TestLostUpstreamIsOneWarning(t *testing.T) {
	book := new(logbook)
	eachRole(t, func(t *testing.T, e *env) {
		const keys = 300
		for i := range keys {
			mustNext(t, mustSubscribe(t, e.Client, fmt.Sprint(i)))
		}
		e.Up.FailWatches(errors.New("unreachable"))
		time.Sleep(10 * time.Minute)
		warnings := book.with("[WARN]")
		require.Len(t, warnings, 1)
		require.Contains(t, warnings[0], "unreachable")
		require.Contains(t, warnings[0], "keys=300")

		e.Up.FailWatches(errors.New("permission denied"))
		time.Sleep(10 * time.Minute)
		require.NotEmpty(t, book.with("[WARN]", "permission denied"), "another reason")
		require.LessOrEqual(t, len(book.with("[WARN]")), 3, "the watches are tried again at different times, within 30 s")
	}, func(e *env) {
		*book = logbook{}
		e.Options = append(e.Options, book.option())
	})
}
