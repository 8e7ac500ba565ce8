package debugpage

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/clusterclient/clusterclient/inspect"
)

const (
	// maxAsking is how many explanations are asked for at a time.
	maxAsking = 4
	// explainPatience is more than a leader waits for its followers.
	explainPatience = 5 * time.Second
	// maxValue is how much is shown of a value.
	maxValue = 4 << 10
)

// An answer explains one key.
type answer struct {
	inspect.Explanation
	More int   `json:"more,omitempty"` // subscribers that are left out
	Held *held `json:"held,omitempty"` // nil when values are not shown, or there is none here
}

// A held value is one that the page's own process has.
type held struct {
	Text   string `json:"text,omitempty"`
	Bytes  int    `json:"bytes"`
	Cut    bool   `json:"cut,omitempty"`    // Text is only the beginning
	Binary bool   `json:"binary,omitempty"` // and not shown
}

// serveExplanation tells how a key's value comes to its subscribers.
func (p *Page) serveExplanation(w http.ResponseWriter, r *http.Request) {
	c, ok := p.client(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainPatience)
	defer cancel()
	select {
	case p.asking <- struct{}{}:
		defer func() { <-p.asking }()
	case <-ctx.Done():
		http.Error(w, "too many ask at the same time", http.StatusServiceUnavailable)
		return
	}
	e, err := c.Explain(ctx, r.URL.Query().Get("key"))
	if err != nil && e.Trouble == "" { // else the leader has not answered, and the rest is there
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	a := answer{Explanation: e}
	a.More = max(0, len(e.Subscribers)-maxFollowers)
	a.Subscribers = e.Subscribers[:len(e.Subscribers)-a.More]
	if p.values {
		a.Held = c.held(ctx, e)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // fails when nobody reads it any more
}

// held returns the value if the process subscribes to the key: the page makes
// no subscription of its own.
func (c *client) held(ctx context.Context, e inspect.Explanation) *held {
	if e.Here == nil || e.Here.Key == nil || e.Here.Key.State == inspect.Unknown {
		return nil
	}
	v, err := c.Get(ctx, e.Key)
	if err != nil || v.Deleted {
		return nil
	}
	h := &held{Bytes: len(v.Data), Cut: len(v.Data) > maxValue}
	text := v.Data[:min(len(v.Data), maxValue)]
	for h.Cut && len(text) > maxValue-utf8.UTFMax && !utf8.Valid(text) {
		text = text[:len(text)-1] // not half a character
	}
	if h.Binary = !utf8.Valid(text); !h.Binary {
		h.Text = string(text)
	}
	return h
}
