package debugpage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

const (
	// inspectEvery is how often a client's leader is asked, unless the answer
	// takes long: a large cluster, or one with a process that hangs, is left
	// alone for restFactor times as long as it took, but no longer than
	// longestRest.
	inspectEvery = time.Second
	restFactor   = 3
	longestRest  = 10 * time.Second

	// fetchedKeys is how many keys are fetched to be filtered here. Of more than
	// that the leader is asked for those that a filter keeps.
	fetchedKeys = 2000

	// keptRates is how many rates are remembered.
	keptRates = 120
	// rateWindow is how long they are.
	rateWindow = 2 * time.Minute
)

// A client is one that is shown, and what was found out about it.
type client struct {
	*clusterclient.Client
	turned chan struct{} // one slot: rung when the role has changed

	mu      sync.Mutex // guards what follows
	changed chan struct{}
	closed  bool
	found   finding
	last    counts
	rates   []rate
}

// A finding is what the leader told last.
type finding struct {
	name    inspect.Name
	at      time.Time // zero when it never told anything
	trouble string    // why it tells no more
}

// counts are a leader's, at one time.
type counts struct {
	at                   time.Time
	leader               string
	term                 uint64
	updates, sent, calls uint64
}

// A rate is how much a leader did a second, up to a time.
type rate struct {
	At      time.Time `json:"at"`
	Updates float64   `json:"updates"`
	Sent    float64   `json:"sent"`
	Calls   float64   `json:"calls"`
}

func newClient(c *clusterclient.Client) *client {
	return &client{Client: c, turned: make(chan struct{}, 1), changed: make(chan struct{}), rates: []rate{}}
}

// update changes what is known of the client.
func (c *client) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// news returns a channel that is closed when something is known that was not.
func (c *client) news() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// followStatus tells of each change of the role.
func (c *client) followStatus(ctx context.Context) {
	for range c.StatusChanges(ctx) {
		select {
		case c.turned <- struct{}{}:
		default:
		}
		c.update(func() {})
	}
	if ctx.Err() == nil {
		c.update(func() { c.closed = true })
	}
}

// inspectAgain asks the leader, and again after a rest or when the role has
// changed.
func (c *client) inspectAgain(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		name, err := c.Inspect(ctx, inspect.Query{Followers: true, Keys: true, Limit: fetchedKeys})
		took := time.Since(began)
		if ctx.Err() != nil {
			return
		}
		c.update(func() { c.noteLocked(name, err) })
		rest := time.NewTimer(min(max(inspectEvery, restFactor*took), longestRest))
		select {
		case <-rest.C:
		case <-c.turned:
		case <-ctx.Done():
		}
		rest.Stop()
	}
}

// noteLocked keeps what the leader told, or why it did not.
func (c *client) noteLocked(name inspect.Name, err error) {
	switch {
	case err != nil:
		c.found.trouble = err.Error()
		return
	case name.Leadership == nil:
		c.found.trouble = fmt.Sprintf("pid %d is not ready: %s %s", name.Leader.PID, name.State, name.Reason)
		return
	}
	c.found = finding{name: name, at: time.Now()}
	c.countLocked(name)
}

// countLocked makes rates of counts. A leader's begin anew with its term.
func (c *client) countLocked(name inspect.Name) {
	now := counts{
		at: time.Now(), leader: name.Leader.Instance, term: name.Term,
		updates: name.Leadership.Updates, sent: name.Leadership.Sent, calls: handled(name.Leadership.Methods),
	}
	before := c.last
	c.last = now
	c.rates = slices.DeleteFunc(c.rates, func(r rate) bool { return now.at.Sub(r.At) > rateWindow })
	c.rates = c.rates[max(0, len(c.rates)-keptRates+1):]
	seconds := now.at.Sub(before.at).Seconds()
	if before.leader != now.leader || before.term != now.term || seconds <= 0 || now.at.Sub(before.at) > rateWindow {
		return
	}
	perSecond := func(from, to uint64) float64 { return float64(to-min(from, to)) / seconds }
	c.rates = append(c.rates, rate{
		At: now.at, Updates: perSecond(before.updates, now.updates), Sent: perSecond(before.sent, now.sent),
		Calls: perSecond(before.calls, now.calls),
	})
}

// handled counts the calls whose handler ran.
func handled(methods []inspect.Method) (n uint64) {
	for _, m := range methods {
		for _, calls := range m.Calls {
			n += calls
		}
	}
	return n
}
