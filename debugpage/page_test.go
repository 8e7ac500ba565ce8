package debugpage_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A seen is what these tests look at of what the page is sent.
type seen struct {
	Now     time.Time
	Clients []struct{ Name, Role string }
	Closed  bool
	Stats   struct {
		Role, Waiting string
		Term          uint64
		StaleKeys     int `json:"stale_keys"`
		Takeovers     int
	}
	Name *struct {
		Term       uint64
		Leadership struct {
			Upstream  struct{ Open bool }
			Followers []struct{ Own bool }
			Keys      []any
		}
	}
	Followers int
	Past      bool
	Trouble   string
	Keys      struct {
		Rows []struct {
			Key       string
			Value     struct{ State, Reason string }
			Processes int
		}
		Matched, Total, Stale int
	}
	Rates []struct {
		At                   time.Time
		Updates, Sent, Calls float64
	}
}

// A browser is a request for events, within the test's bubble.
type browser struct {
	t      *testing.T
	header http.Header
	end    context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex // guards what follows
	code   int
	body   strings.Builder
	events []string // flushed
}

func (b *browser) Header() http.Header { return b.header }

func (b *browser) WriteHeader(code int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.code = code
}

func (b *browser) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.body.Write(p)
}

// Flush takes what was written, which is to be whole events.
func (b *browser) Flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for event := range strings.SplitSeq(strings.TrimSuffix(b.body.String(), "\n\n"), "\n\n") {
		b.events = append(b.events, event)
	}
	b.body.Reset()
}

// look opens a stream of events.
func look(t *testing.T, h http.Handler, url string) *browser {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	b := &browser{t: t, header: http.Header{}, end: cancel, ended: make(chan struct{}), code: http.StatusOK}
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	go func() {
		defer close(b.ended)
		h.ServeHTTP(b, r)
	}()
	t.Cleanup(b.leave)
	return b
}

// leave closes the page and returns when the handler has.
func (b *browser) leave() {
	b.end()
	<-b.ended
}

func (b *browser) status() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.code
}

func (b *browser) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.events)
}

// newest returns what the page shows now.
func (b *browser) newest() (s seen) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.NotEmpty(b.t, b.events, "code %d, %s", b.code, b.body.String())
	_, data, ok := strings.Cut(b.events[len(b.events)-1], "data: ")
	require.True(b.t, ok)
	require.NoError(b.t, json.Unmarshal([]byte(data), &s), "%s", data)
	return s
}

// get returns the answer to a request that is to end by itself, within a minute.
func get(t *testing.T, h http.Handler, method, url string, header ...string) (code int, got http.Header, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, method, url, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}
