package debugpage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

const (
	// every is how often a page hears of everything.
	every = time.Second

	// maxKeys is how many keys of one cluster a page is told of.
	maxKeys = 500

	// writeTimeout bounds how long a viewer may take for one event.
	writeTimeout = 10 * time.Second
)

// A view is what a page is told of one client.
type view struct {
	Client   clusterclient.Stats `json:"client"`
	Cluster  *inspect.Name       `json:"cluster"` // as its leader sees it; null when there is none
	Trouble  string              `json:"trouble,omitempty"`
	MoreKeys int                 `json:"more_keys"` // that are not in the list
}

// An event is one message to a page.
type event struct {
	At     time.Time `json:"at"`
	Values bool      `json:"values"` // may be asked for
	Views  []view    `json:"views"`
}

// serveEvents tells the page how things are: at once when a client's role
// changes, and every second.
func (p *Page) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for proxies that collect
	ctl := http.NewResponseController(w)
	ctx, cancel := context.WithCancel(r.Context())
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	bell := make(chan struct{}, 1) // one slot: a role has changed
	for _, c := range p.clients {
		watchers.Go(func() {
			for range c.StatusChanges(ctx) {
				select {
				case bell <- struct{}{}:
				default:
				}
			}
		})
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		_ = ctl.SetWriteDeadline(time.Now().Add(writeTimeout)) // not all servers can
		if p.writeEvent(ctx, w) != nil || ctl.Flush() != nil {
			return
		}
		select {
		case <-bell:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Page) writeEvent(ctx context.Context, w http.ResponseWriter) error {
	e := event{At: time.Now(), Values: p.values, Views: make([]view, len(p.clients))}
	var all sync.WaitGroup
	for i, c := range p.clients {
		all.Go(func() { e.Views[i] = viewOf(ctx, c) })
	}
	all.Wait()
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "data: %s\n\n", text)
	return err
}

func viewOf(ctx context.Context, c *clusterclient.Client) view {
	v := view{Client: c.Stats()}
	name, err := c.Inspect(ctx)
	if err != nil {
		v.Trouble = err.Error()
		return v
	}
	if l := name.Leadership; l != nil && len(l.Keys) > maxKeys {
		v.MoreKeys = len(l.Keys) - maxKeys
		l.Keys = l.Keys[:maxKeys]
	}
	v.Cluster = &name
	return v
}

func withTimeout(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), d)
}
