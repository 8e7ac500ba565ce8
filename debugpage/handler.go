package debugpage

import (
	"embed"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
)

// A Page is an http.Handler to be mounted under any path that ends in a slash.
// It serves GET and HEAD alone. It is safe for concurrent use.
type Page struct {
	feed   *feed
	values bool
	slots  chan struct{} // one for each stream
	asking chan struct{} // one for each explanation that is being asked for
}

// Handler returns a page of the clients, which may lead or follow, without
// values. The clients may be closed before the page is; it says so then.
func Handler(clients ...*clusterclient.Client) *Page {
	return &Page{feed: newFeed(clients), slots: make(chan struct{}, maxStreams), asking: make(chan struct{}, maxAsking)}
}

// ShowValues lets viewers read the values of keys that the page's own process
// subscribes to, one at a time, up to 4 KiB. It returns p. It is called before
// p serves.
func (p *Page) ShowValues() *Page {
	p.values = true
	return p
}

//go:embed web
var web embed.FS

// assets says what the files of the page are, which are named by the last
// element of a path. So the page does not need to know where it is mounted.
var assets = map[string]string{
	"index.html": "text/html; charset=utf-8",
	"page.js":    "text/javascript; charset=utf-8",
	"draw.js":    "text/javascript; charset=utf-8",
	"style.css":  "text/css; charset=utf-8",
	"icon.svg":   "image/svg+xml",
}

// policy lets the page load what the handler serves and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP serves the page, and what it loads, whatever path it is mounted at.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "the page can only be read", http.StatusMethodNotAllowed)
		return
	}
	switch dir, name := path.Split(r.URL.Path); {
	case dir == "" && name == "":
		addSlash(w, r)
	case name == "":
		serveAsset(w, r, "index.html")
	case name == "events":
		p.serveEvents(w, r)
	case name == "explain":
		p.serveExplanation(w, r)
	case assets[name] != "":
		serveAsset(w, r, name)
	case strings.Contains(name, "."):
		http.NotFound(w, r)
	default:
		addSlash(w, r) // mounted without it
	}
}

// addSlash leads to where relative links work. The way there is relative
// itself, as nobody knows what proxies have made of the path.
func addSlash(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if sent, err := url.ParseRequestURI(r.RequestURI); r.URL.Path == "" && err == nil {
		name = path.Base(sent.Path) // a prefix was cut off
	}
	w.Header().Set("Location", "./"+url.PathEscape(name)+"/")
	w.WriteHeader(http.StatusTemporaryRedirect)
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, err := web.ReadFile("web/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", assets[name])
	http.ServeContent(w, r, name, time.Time{}, strings.NewReader(string(content)))
}

// client returns the client that the request is about, or refuses it. Other
// sites' pages, which may be open in the same browser, have no business here.
func (p *Page) client(w http.ResponseWriter, r *http.Request) (c *client, ok bool) {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		http.Error(w, "for this handler's own page", http.StatusForbidden)
		return nil, false
	}
	i, _ := strconv.Atoi(r.URL.Query().Get("client")) // the first one without a number
	if i < 0 || i >= len(p.feed.clients) {
		http.Error(w, "no such client", http.StatusNotFound)
		return nil, false
	}
	return p.feed.clients[i], true
}
