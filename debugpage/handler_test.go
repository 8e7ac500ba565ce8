package debugpage_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/debugpage"
)

// mustAnswer checks the status of an answer.
func mustAnswer(t *testing.T, want int, h http.Handler, url string) {
	t.Helper()
	code, _, text := get(t, h, http.MethodGet, url)
	require.Equal(t, want, code, "%s: %s", url, text)
}

func TestAssets(t *testing.T) {
	h := debugpage.Handler()
	for _, prefix := range []string{"/", "/debug/cluster/", "/a/b/c/d/"} {
		for name, want := range map[string]struct{ kind, part string }{
			"":           {"text/html; charset=utf-8", "<!doctype html>"},
			"index.html": {"text/html; charset=utf-8", "<!doctype html>"},
			"page.js":    {"text/javascript; charset=utf-8", "EventSource"},
			"draw.js":    {"text/javascript; charset=utf-8", "createElementNS"},
			"style.css":  {"text/css; charset=utf-8", "prefers-color-scheme"},
			"icon.svg":   {"image/svg+xml", "<svg"},
		} {
			code, header, text := get(t, h, http.MethodGet, prefix+name)
			require.Equal(t, http.StatusOK, code, prefix+name)
			require.Equal(t, want.kind, header.Get("Content-Type"), prefix+name)
			require.Contains(t, text, want.part)
			text = strings.ReplaceAll(text, `http://www.w3.org/2000/svg`, "")
			require.NotRegexp(t, `(https?:)?//[a-z]+\.`, text, "%s refers to another host", name)
			require.NotRegexp(t, `innerHTML|insertAdjacentHTML|document\.write|eval\(| style=| on[a-z]+="`, text, name)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := debugpage.Handler()
	for _, path := range []string{"/", "/page.js", "/events", "/explain", "/no.such"} {
		_, header, _ := get(t, h, http.MethodGet, path)
		policy := header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.Contains(t, policy, "frame-ancestors 'none'", path)
		require.NotContains(t, policy, "unsafe", path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Contains(t, header.Get("Cache-Control"), "no-store", path)
	}
}

func TestMountedAnywhere(t *testing.T) {
	h := debugpage.Handler()
	mux := http.NewServeMux()
	mux.Handle("/debug/cluster/", h)
	mux.Handle("/stripped/", http.StripPrefix("/stripped/", h))
	mux.Handle("/cut", http.StripPrefix("/cut", h))
	mux.Handle("/cut/", http.StripPrefix("/cut", h))
	mux.Handle("/exact", h)
	for path, want := range map[string]int{
		"/debug/cluster/": 200, "/debug/cluster/page.js": 200, "/debug/cluster/no.such": 404,
		"/stripped/page.js": 200, "/cut/": 200, "/cut/page.js": 200,
	} {
		mustAnswer(t, want, mux, path)
	}
	for path, want := range map[string]string{"/cut": "./cut/", "/exact": "./exact/"} {
		code, header, _ := get(t, mux, http.MethodGet, path)
		require.Equal(t, http.StatusTemporaryRedirect, code, path)
		require.Equal(t, want, header.Get("Location"), path)
	}
}

func TestOnlyReads(t *testing.T) {
	h := debugpage.Handler()
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		code, header, _ := get(t, h, method, "/events")
		require.Equal(t, http.StatusMethodNotAllowed, code, method)
		require.Equal(t, "GET, HEAD", header.Get("Allow"))
	}
}

func TestOtherSites(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		h := debugpage.Handler(cluster.Start().Client)
		for _, path := range []string{"/events", "/explain?key=k"} {
			code, _, _ := get(t, h, http.MethodGet, path, "Sec-Fetch-Site", "cross-site")
			require.Equal(t, http.StatusForbidden, code, path)
		}
	})
}

type explained struct {
	Key, Trouble string
	Value        struct{ State string }
	Subscribers  []any
	Held         *struct {
		Text        string
		Bytes       int
		Cut, Binary bool
	}
}

func explain(t *testing.T, h http.Handler, key string) (e explained, text string) {
	t.Helper()
	code, _, text := get(t, h, http.MethodGet, "/debug/explain?key="+key)
	require.Equal(t, http.StatusOK, code, text)
	require.NoError(t, json.Unmarshal([]byte(text), &e))
	return e, text
}

func TestValuesAreHidden(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		n := cluster.Start()
		up.Set("k", "a secret")
		subscribe(t, n, "k")
		e, text := explain(t, debugpage.Handler(n.Client), "k")
		require.Equal(t, "fresh", e.Value.State)
		require.Len(t, e.Subscribers, 1)
		require.Nil(t, e.Held)
		require.NotContains(t, text, "secret")
	})
}

func TestValuesWhenAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, up *clustertest.Upstream, cluster *clustertest.Cluster) {
		n, other := cluster.Start(), cluster.Start()
		h := debugpage.Handler(n.Client).ShowValues()
		up.Set("text", "a </script> value")
		up.Set("binary", "\xff\xfe")
		up.Set("long", strings.Repeat("é", 5000))
		up.Set("elsewhere", "not here")
		subscribe(t, n, "text", "binary", "long", "none")
		subscribe(t, other, "elsewhere")

		e, text := explain(t, h, "text")
		require.Equal(t, "a </script> value", e.Held.Text)
		require.NotContains(t, text, "</script>")
		e, _ = explain(t, h, "binary")
		require.True(t, e.Held.Binary)
		require.Empty(t, e.Held.Text)
		e, _ = explain(t, h, "long")
		require.True(t, e.Held.Cut)
		require.Equal(t, 10000, e.Held.Bytes)
		require.Regexp(t, regexp.MustCompile(`^é+$`), e.Held.Text)
		for _, key := range []string{"none", "elsewhere", "unwatched"} {
			e, _ = explain(t, h, key)
			require.Nil(t, e.Held, key)
		}
		require.Zero(t, up.Watches("unwatched"), "the page subscribes to nothing")
	})
}

func TestExplainRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *clustertest.Upstream, cluster *clustertest.Cluster) {
		h := debugpage.Handler(cluster.Start().Client)
		mustAnswer(t, http.StatusBadRequest, h, "/explain")
	})
}
