package debugpage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/debugpage"
)

// start returns a page, mounted below a path, of two clusters' clients.
func start(t *testing.T, change func(*debugpage.Page)) (url string, up *clustertest.Upstream, a, b *clustertest.Node) {
	t.Helper()
	up = clustertest.NewUpstream()
	up.Set("k", "secret")
	cluster := clustertest.New(t, up)
	a, b = cluster.Start(), cluster.Start()
	sub, err := b.Subscribe(t.Context(), "k")
	require.NoError(t, err)
	_, err = sub.Next(t.Context())
	require.NoError(t, err)
	page := debugpage.Handler(b.Client)
	change(page)
	mux := http.NewServeMux()
	mux.Handle("/debug/cluster/", page)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL + "/debug/cluster/", up, a, b
}

func get(t *testing.T, url string) (code int, header http.Header, body string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var text strings.Builder
	_, err = bufio.NewReader(resp.Body).WriteTo(&text)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, text.String()
}

func TestPage(t *testing.T) {
	url, _, _, _ := start(t, func(*debugpage.Page) {})
	for path, kind := range map[string]string{"": "text/html", "page.js": "text/javascript", "page.css": "text/css"} {
		code, header, text := get(t, url+path)
		require.Equal(t, 200, code, path)
		require.Contains(t, header.Get("Content-Type"), kind)
		require.Contains(t, header.Get("Content-Security-Policy"), "script-src 'self'")
		require.NotContains(t, text, "http://www.w3.org/1999", "nothing from outside")
		require.NotContains(t, strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), "://", "nothing from outside")
	}
	for path, want := range map[string]int{"nothing": 404, "value?name=test&key=k": 403} {
		code, _, text := get(t, url+path)
		require.Equal(t, want, code, path)
		require.NotContains(t, text, "secret")
	}
	resp, err := http.Post(url, "text/plain", nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 405, resp.StatusCode)
}

func TestValues(t *testing.T) {
	url, up, _, _ := start(t, func(p *debugpage.Page) { p.ShowValues() })
	_, _, text := get(t, url+"value?name=test&key=k")
	require.JSONEq(t, `{"text":"secret","binary":false,"deleted":false,"more":0}`, text)
	up.Set("large", "\xff"+strings.Repeat("x", 100_000))
	_, _, text = get(t, url+"value?name=test&key=large")
	require.Contains(t, text, `"binary":true`)
	require.Contains(t, text, `"more":34465`)
	_, _, text = get(t, url+"value?name=test&key=none")
	require.Contains(t, text, `"deleted":true`)
	code, _, _ := get(t, url+"value?name=other&key=k")
	require.Equal(t, 404, code)
}

// The page is told of a takeover, and never of a value.
func TestEvents(t *testing.T) {
	url, _, a, b := start(t, func(*debugpage.Page) {})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	type event struct {
		Views []struct {
			Client struct {
				Role string `json:"role"`
				Term uint64 `json:"term"`
			} `json:"client"`
			Cluster *struct {
				Term       uint64 `json:"term"`
				Leadership struct {
					Keys []struct {
						Key string `json:"key"`
					} `json:"keys"`
				} `json:"leadership"`
			} `json:"cluster"`
		} `json:"views"`
	}
	killed := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		require.NotContains(t, data, "secret")
		var e event
		require.NoError(t, json.Unmarshal([]byte(data), &e))
		require.Len(t, e.Views, 1)
		v := e.Views[0]
		if !killed {
			require.Equal(t, "follower", v.Client.Role)
			require.Equal(t, "k", v.Cluster.Leadership.Keys[0].Key)
			killed = true
			a.Kill()
		}
		if v.Client.Role == "leader" && v.Cluster != nil && v.Cluster.Term == 2 {
			require.NoError(t, b.Close()) // the page goes on
			return
		}
	}
	t.Fatal("the page was not told of the takeover")
}
