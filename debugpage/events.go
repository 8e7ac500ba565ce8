package debugpage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxStreams is how many pages are kept up to date at a time.
	maxStreams = 16
	// shortestPause is between two events of a stream, longestPause the
	// longest time without one: by it the page, and proxies, see that the
	// stream is alive.
	shortestPause = 200 * time.Millisecond
	longestPause  = time.Second
	// writePatience is how long a browser may take to read one event.
	writePatience = 15 * time.Second
)

// serveEvents sends a view, and another one whenever there is something new. A
// page that is slow misses some, never the newest.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	c, ok := p.client(w, r)
	if !ok {
		return
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d pages are open already", maxStreams), http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform") // by a proxy either, which would collect first
	h.Set("X-Accel-Buffering", "no")
	if r.Method == http.MethodHead {
		return
	}
	defer p.feed.watch()()
	p.stream(r.Context(), newEventWriter(w), c, filterFrom(r.URL.Query()))
}

// stream sends views until ctx ends or nobody reads them.
func (p *Page) stream(ctx context.Context, out *eventWriter, c *client, f filter) {
	for {
		news := c.news()
		if out.send(p.view(ctx, c, f)) != nil {
			return
		}
		if !pause(ctx, shortestPause, nil) || !pause(ctx, longestPause-shortestPause, news) {
			return
		}
	}
}

// pause returns after d, earlier if there is news, and false when ctx ends.
func pause(ctx context.Context, d time.Duration, news <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-news:
	case <-ctx.Done():
		return false
	}
	return true
}

// An eventWriter writes server-sent events.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func newEventWriter(w http.ResponseWriter) *eventWriter {
	return &eventWriter{w: w, control: http.NewResponseController(w)}
}

// send writes v at once. JSON has no line breaks, so it is one line of data.
func (e *eventWriter) send(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// The server's own limit would end a stream that is well.
	err = e.control.SetWriteDeadline(time.Now().Add(writePatience))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := fmt.Fprintf(e.w, "retry: 1000\ndata: %s\n\n", text); err != nil {
		return err
	}
	return e.control.Flush()
}
