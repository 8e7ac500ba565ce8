package debugpage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/debugpage"
)

// A firstEvent is a browser that takes one event, or whatever else it is sent,
// and goes.
type firstEvent struct {
	*httptest.ResponseRecorder
	goes func()
}

func (w firstEvent) Flush() { w.goes() }

// FuzzRequest is whoever can reach the page, with any path, query and origin.
// He gets one of the answers that there are, in one piece: events that are each
// a line of JSON, and no value.
func FuzzRequest(f *testing.F) {
	const keys, secret = 2100, "never shown" // more than are fetched to be filtered here
	up := clustertest.NewUpstream()
	n := clustertest.New(f, up).Start()
	for i := range keys {
		key := fmt.Sprintf("/app/%d", i)
		up.Set(key, secret)
		sub, err := n.Subscribe(context.Background(), key)
		require.NoError(f, err)
		_, err = sub.Next(context.Background())
		require.NoError(f, err)
	}
	h := debugpage.Handler(n.Client)
	viewed, leave := context.WithCancel(context.Background())
	seen, left := make(chan struct{}, 1), make(chan struct{})
	go func() { // somebody looks on all the time, so that there is something to see
		defer close(left)
		r := httptest.NewRequestWithContext(viewed, http.MethodGet, "/events", nil)
		h.ServeHTTP(watching{httptest.NewRecorder(), seen}, r)
	}()
	f.Cleanup(func() { leave(); <-left })
	<-seen
	<-seen // the second event has what the leader told

	for _, seed := range []string{
		"/\x00\x00", "/events\x00client=0&filter=/APP/1&stale=1\x00same-origin", "/events\x00filter=%ff&client=-1\x00", "/debug/explain\x00key=/app/1\x00none",
		"/explain\x00key=%ff%fe\x00", "/explain\x00key=\x00cross-site", "/a/../page.js\x00\x00", "//x.example/%2e%2e\x00\x00", "/x;y\x00client=99999999999999999999\x00",
	} {
		part := strings.Split(seed, "\x00")
		f.Add(part[0], part[1], part[2], false)
	}
	f.Fuzz(func(t *testing.T, path, query, site string, head bool) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		r.URL.Path, r.URL.RawQuery, r.RequestURI = path, query, path+"?"+query
		r.Header.Set("Sec-Fetch-Site", site)
		if head {
			r.Method = http.MethodHead
		}
		w := firstEvent{httptest.NewRecorder(), cancel}
		h.ServeHTTP(w, r)
		mustBeAnswer(t, w, secret)
	})
}

// mustBeAnswer checks what anybody was sent.
func mustBeAnswer(t *testing.T, w firstEvent, secret string) {
	t.Helper()
	body := w.Body.String()
	require.NotContains(t, body, secret)
	require.NotEmpty(t, w.Header().Get("Content-Security-Policy"))
	switch kind := w.Header().Get("Content-Type"); {
	case kind == "text/event-stream" && body != "":
		data, ok := strings.CutPrefix(body, "retry: 1000\ndata: ")
		require.True(t, ok, body)
		data, ok = strings.CutSuffix(data, "\n\n")
		require.True(t, ok, body)
		require.NotContains(t, data, "\n")
		require.True(t, json.Valid([]byte(data)), data)
	case kind == "application/json":
		require.True(t, json.Valid([]byte(body)), body)
	case w.Code == http.StatusTemporaryRedirect:
		to := w.Header().Get("Location")
		require.True(t, strings.HasPrefix(to, "./") && strings.HasSuffix(to, "/"), "%q leads elsewhere", to)
		require.Equal(t, 2, strings.Count(to, "/"), "%q leads elsewhere", to)
	default:
		require.Contains(t, []int{http.StatusOK, http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusServiceUnavailable}, w.Code)
	}
}

// watching is a browser that tells of each event.
type watching struct {
	*httptest.ResponseRecorder
	event chan<- struct{}
}

func (w watching) Flush() {
	w.Body.Reset()
	select {
	case w.event <- struct{}{}:
	default:
	}
}
