package browsertest

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/debugpage"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// patience bounds a test. It is no expectation of how long anything takes.
const patience = 90 * time.Second

func TestMain(m *testing.M) { processtest.Main(m) }

// browse opens a browser. Without one the test is skipped, but not in CI.
func browse(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	if path == "" && os.Getenv("CI") == "" {
		t.Skip("no chromium")
	}
	require.NotEmpty(t, path, "CI has no chromium")
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.UserDataDir(t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

// A scene is a cluster of processes, and a page that this process, a follower,
// serves of it.
type scene struct {
	w     *processtest.World
	all   []*processtest.Child
	leads *processtest.Child
	url   string
}

func newScene(t *testing.T, n int) *scene {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700)) //nolint:gosec // a directory needs x
	t.Setenv("XDG_RUNTIME_DIR", dir)
	s := &scene{w: processtest.New(t)}
	s.all = s.w.Start(n)
	s.leads, _ = s.w.Settled(0, s.all)
	s.w.Centre.Set("/app/limit", "42")
	s.w.Centre.Set("/app/features/checkout", `{"enabled":true}`)
	for _, c := range s.all {
		c.Must(processtest.Command{Op: "subscribe", Key: "/app/limit", Tag: "s"})
	}
	s.w.Yielded(s.all, "s", "42")
	own, err := clusterclient.Create(processtest.Name, s.w.Port)
	require.NoError(t, err)
	t.Cleanup(func() { _ = own.Close() })
	sub, err := own.Subscribe(t.Context(), "/app/features/checkout")
	require.NoError(t, err)
	_, err = sub.Next(t.Context())
	require.NoError(t, err)
	srv := httptest.NewServer(debugpage.Handler(own).ShowValues())
	t.Cleanup(srv.Close)
	s.url = srv.URL + "/"
	return s
}

// do makes the browser do something.
func do[T any](ctx context.Context, t *testing.T, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(ctx, action)
	require.NoError(t, err)
	return result
}

// shows waits until an expression of the page's script is true.
func shows(ctx context.Context, t *testing.T, what, expression string) {
	t.Helper()
	_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingTimeout(patience/3)))
	require.NoError(t, err, "the page does not show %s: %s", what, do(ctx, t, chromedp.Evaluate[string](`document.body.innerText`)))
}

// look makes the window as large as that of a device, and prefer light or dark.
func look(ctx context.Context, t *testing.T, width, height int64, scheme string) {
	t.Helper()
	do(ctx, t, chromedp.EmulateViewport(width, height))
	do(ctx, t, chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// The page follows a kill of the leader without being loaded again.
func TestPageFollowsAKill(t *testing.T) {
	ctx := browse(t)
	s := newScene(t, 3)
	look(ctx, t, 1100, 900, "light")
	do(ctx, t, chromedp.Navigate(s.url))
	do(ctx, t, chromedp.Evaluate[bool](`window.sameDocument = true`))
	leads := func(pid int) string {
		return `document.querySelector("#summary").textContent.includes("Pid ` + strconv.Itoa(pid) + ` leads ")`
	}
	shows(ctx, t, "the leader", leads(s.leads.PID))
	shows(ctx, t, "the followers in the picture", `document.querySelectorAll("#picture .follower").length === 3`)
	shows(ctx, t, "the keys", `document.querySelector('tr.fresh[data-id="key /app/limit"]') !== null`)
	shows(ctx, t, "who subscribes", `document.querySelector('tr[data-id="key /app/limit"]').textContent.includes("`+strconv.Itoa(s.all[1].PID)+`")`)

	s.leads.Kill()
	rest := processtest.Without(s.all, s.leads)
	next, _ := s.w.Settled(1, rest)
	shows(ctx, t, "the next leader", leads(next.PID))
	shows(ctx, t, "one process less", `document.querySelectorAll("#picture .follower").length === 2`)
	shows(ctx, t, "the takeover", `document.querySelectorAll("#terms li").length === 2`)
	shows(ctx, t, "fresh values", `document.querySelectorAll("#keys .fresh").length === 2`)
	require.True(t, do(ctx, t, chromedp.Evaluate[bool](`window.sameDocument === true`)), "the page was loaded again")

	do(ctx, t, chromedp.Evaluate[bool](`document.querySelector('tr[data-id="key /app/features/checkout"] button').click() || true`))
	shows(ctx, t, "a value that was asked for", `document.querySelector(".explained pre")?.textContent === '{"enabled":true}'`)
}

// Nothing is cut off at the width of a phone.
func TestPageFitsEverywhere(t *testing.T) {
	ctx := browse(t)
	s := newScene(t, 5)
	s.leads.Kill()
	s.w.Settled(1, processtest.Without(s.all, s.leads))
	for _, view := range []struct {
		name, scheme string
		w, h         int64
	}{{"light", "light", 1100, 900}, {"dark", "dark", 1100, 900}, {"phone", "light", 390, 800}, {"phone-dark", "dark", 390, 800}} {
		t.Run(view.name, func(t *testing.T) {
			look(ctx, t, view.w, view.h, view.scheme)
			do(ctx, t, chromedp.Navigate(s.url))
			shows(ctx, t, "all", `document.querySelectorAll("#picture .follower").length === 4 && document.querySelectorAll("#keys .fresh").length === 2`)
			overflow := do(ctx, t, chromedp.Evaluate[int](`document.documentElement.scrollWidth - window.innerWidth`))
			require.LessOrEqual(t, overflow, 0, "pixels that are cut off at the right")
			shot(ctx, t, view.name)
		})
	}
}

// While nobody leads the page says so, and shows what was known before.
func TestPageWithoutALeader(t *testing.T) {
	ctx := browse(t)
	s := newScene(t, 1)
	look(ctx, t, 1100, 900, "light")
	do(ctx, t, chromedp.Navigate(s.url))
	shows(ctx, t, "the keys", `document.querySelectorAll("#keys .fresh").length === 2`)
	s.leads.Kill()
	shows(ctx, t, "that nobody leads", `document.querySelector("#banner:not([hidden])")?.textContent.startsWith("Nobody leads now.")`)
	shows(ctx, t, "the keys as of before", `document.querySelectorAll("#keys .past").length === 2`)
	shows(ctx, t, "nobody in the picture", `document.querySelector("#picture .nobody") !== null`)
	shot(ctx, t, "nobody")
}

// A kill that takes long is seen as it happens: before, while the next leader
// opens the upstream, and after. Then that leader goes blind.
func TestPageTellsAStory(t *testing.T) {
	ctx := browse(t)
	s := newScene(t, 3)
	do(ctx, t, chromedp.Navigate(s.url))
	fresh := `document.querySelectorAll("#picture .follower").length === %s && document.querySelectorAll("#keys .fresh").length === 2 && document.querySelector("#banner[hidden]") !== null`
	shows(ctx, t, "a cluster that is well", strings.ReplaceAll(fresh, "%s", "3"))
	shots(ctx, t, "1-before")

	s.w.Centre.Hold(true)
	s.leads.Kill()
	shows(ctx, t, "that nobody leads", `document.querySelector("#banner:not([hidden])")?.textContent.startsWith("Nobody leads now.")`)
	shows(ctx, t, "how long for", `document.querySelector("#where").textContent.includes("without a leader for")`)
	shows(ctx, t, "the end of the term", `document.querySelector("#terms li")?.textContent.includes("nobody leads")`)
	shots(ctx, t, "2-nobody")

	s.w.Centre.Hold(false)
	next, _ := s.w.Settled(1, processtest.Without(s.all, s.leads))
	shows(ctx, t, "the next leader", `document.querySelector("#picture .leader").textContent.includes("pid `+strconv.Itoa(next.PID)+`")`)
	shows(ctx, t, "a cluster that is well again", strings.ReplaceAll(fresh, "%s", "2"))
	shots(ctx, t, "3-after")

	s.w.Centre.Close()
	shows(ctx, t, "a blind leader in the picture", `document.querySelector("#picture .leader.blind .role")?.textContent.endsWith(", blind")`)
	shows(ctx, t, "the upstream that it does not reach", `document.querySelector("#picture .upstream.bad .note")?.textContent.startsWith("not reached for")`)
	shows(ctx, t, "since when, and why", `/has not reached the upstream for .*: connection to the centre lost/.test(document.querySelector("#banner:not([hidden])")?.textContent)`)
	shows(ctx, t, "stale keys", `document.querySelectorAll("#keys .stale .reason").length === 2`)
	do(ctx, t, chromedp.Evaluate[bool](`document.querySelector("button.key").click() || true`))
	shows(ctx, t, "that in the way of a value", `document.querySelector(".explained li")?.textContent.startsWith("upstream: not reached by the leader for ")`)
	shots(ctx, t, "4-blind")
}

// shots keeps pictures as on a desk and on a phone, light and dark.
func shots(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if os.Getenv("SHOTS") == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		look(ctx, t, 1100, 900, scheme)
		shot(ctx, t, name+"-"+scheme)
		look(ctx, t, 390, 800, scheme)
		shot(ctx, t, name+"-phone-"+scheme)
	}
}

// What a key is called is text, whatever it looks like.
func TestPageEscapes(t *testing.T) {
	ctx := browse(t)
	s := newScene(t, 1)
	const key = `<img src=x onerror="document.title='taken'"><script>alert(1)</script>&amp;`
	s.w.Centre.Set(key, "v")
	s.all[0].Must(processtest.Command{Op: "subscribe", Key: key, Tag: "nasty"})
	do(ctx, t, chromedp.Navigate(s.url+"?filter=onerror"))
	shows(ctx, t, "the key as it is", `document.querySelector("button.key")?.textContent === `+strconv.Quote(key))
	do(ctx, t, chromedp.Evaluate[bool](`document.querySelector("button.key").click() || true`))
	shows(ctx, t, "where it comes from", `document.querySelector(".explained li")?.textContent === "upstream: watching"`)
	require.Zero(t, do(ctx, t, chromedp.Evaluate[int](`document.querySelectorAll("main img, main script").length`)))
}

// shot keeps a picture in the directory that SHOTS names, to look at.
func shot(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	do(ctx, t, chromedp.Sleep(2*time.Second))
	png := do(ctx, t, chromedp.FullScreenshot(100))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}
