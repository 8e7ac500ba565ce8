// Package debugpage shows clusters on a page that follows them by itself.
//
//	http.Handle("/debug/cluster/", debugpage.Handler(client))
//
// It shows who leads and who follows, the keys with their age and state, who
// subscribes, the takeovers on a time line, and what goes through. It needs
// nothing from outside: the page and what it loads are part of the program.
// Values are not shown unless [Page.ShowValues] says so. Whoever can reach the
// page sees the rest, so mount it where pprof would be.
package debugpage

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/clusterclient/clusterclient"
)

//go:embed assets
var embedded embed.FS

const (
	// valueTimeout bounds how long the page waits for a value.
	valueTimeout = 3 * time.Second

	// maxShown is how much of a value is shown, in bytes.
	maxShown = 64 << 10
)

// A Page is an http.Handler to be mounted at any path that ends with a slash.
type Page struct {
	clients []*clusterclient.Client
	values  bool
	assets  fs.FS
}

// Handler returns a page of the clients, which may lead or follow. It is safe
// for concurrent use. The clients may be closed before the page is.
func Handler(clients ...*clusterclient.Client) *Page {
	assets, err := fs.Sub(embedded, "assets")
	if err != nil {
		panic(err) // of what is embedded above
	}
	return &Page{clients: clients, assets: assets}
}

// ShowValues lets viewers read the values of keys, one at a time. It returns p.
// It is called before p serves.
func (p *Page) ShowValues() *Page {
	p.values = true
	return p
}

// ServeHTTP serves the page, and what it loads, whatever path it is mounted at.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	if strings.HasSuffix(r.URL.Path, "/") {
		http.ServeFileFS(w, r, p.assets, "page.html")
		return
	}
	switch name := path.Base(r.URL.Path); name {
	case "page.js", "page.css":
		http.ServeFileFS(w, r, p.assets, name)
	case "events":
		p.serveEvents(w, r)
	case "value":
		p.serveValue(w, r)
	default:
		http.NotFound(w, r)
	}
}

// serveValue answers with the newest value of a key.
func (p *Page) serveValue(w http.ResponseWriter, r *http.Request) {
	if !p.values {
		http.Error(w, "values are hidden; the program that mounts the page can show them (ShowValues)", http.StatusForbidden)
		return
	}
	for _, c := range p.clients {
		if c.Status().Name == r.FormValue("name") {
			p.writeValue(w, r, c)
			return
		}
	}
	http.Error(w, fmt.Sprintf("no cluster called %q here", r.FormValue("name")), http.StatusNotFound)
}

func (p *Page) writeValue(w http.ResponseWriter, r *http.Request, c *clusterclient.Client) {
	ctx, cancel := withTimeout(r, valueTimeout)
	defer cancel()
	v, err := c.Get(ctx, r.FormValue("key"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	text := struct {
		Text    string `json:"text"`
		Binary  bool   `json:"binary"`
		Deleted bool   `json:"deleted"`
		More    int    `json:"more"` // bytes that are not shown
	}{Deleted: v.Deleted, More: max(0, len(v.Data)-maxShown)}
	shown := v.Data[:len(v.Data)-text.More]
	text.Binary = !utf8.Valid(v.Data)
	text.Text = strings.ToValidUTF8(string(shown), "\uFFFD")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(text)
}
