package debugpage

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

const (
	maxKeys        = 200 // rows
	maxFollowers   = 200
	maxSubscribers = 12 // of one key
)

// A view is all that the page shows at one time.
type view struct {
	Now     time.Time `json:"now"`
	Clients []tab     `json:"clients"`
	Client  int       `json:"client"` // which one of them the rest is about

	Closed bool                `json:"closed"`
	Stats  clusterclient.Stats `json:"stats"` // of the process that serves the page
	Values bool                `json:"values"`

	// Name is what the leader told last, at At. It is Past when that leader
	// does not lead any more, or does not answer, for the reason Trouble.
	Name      *inspect.Name `json:"name,omitempty"` // without keys, and with some of the followers
	Followers int           `json:"followers"`      // all, the leader's own among them
	At        time.Time     `json:"at,omitzero"`
	Past      bool          `json:"past"`
	Trouble   string        `json:"trouble,omitempty"`
	Keys      keyTable      `json:"keys"`
	Rates     []rate        `json:"rates"`
}

// A tab is a client in a list of them.
type tab struct {
	Name string             `json:"name"`
	Role clusterclient.Role `json:"role"`
}

// A keyTable has some keys.
type keyTable struct {
	Rows    []keyRow `json:"rows"`
	Matched int      `json:"matched"` // by the filter
	Total   int      `json:"total"`
	Stale   int      `json:"stale"` // of all
}

type keyRow struct {
	inspect.Key
	Processes int `json:"processes"` // that subscribe, of which Subscribers has some
}

// A filter says which keys to show.
type filter struct {
	text  string
	stale bool
}

func filterFrom(q url.Values) filter {
	return filter{text: strings.ToLower(q.Get("filter")), stale: q.Get("stale") != ""}
}

func (f filter) keeps(k *inspect.Key) bool {
	return (!f.stale || k.Value.State != inspect.Fresh) && strings.Contains(strings.ToLower(k.Key), f.text)
}

// view returns what is known now of the client c.
func (p *Page) view(ctx context.Context, c *client, f filter) view {
	v := view{Now: time.Now(), Values: p.values, Stats: c.Stats()}
	for i, other := range p.feed.clients {
		if other == c {
			v.Client = i
		}
		st := other.Status()
		v.Clients = append(v.Clients, tab{Name: st.Name, Role: st.Role})
	}
	c.mu.Lock()
	found := c.found
	v.Closed, v.Rates = c.closed, slices.Clone(c.rates)
	c.mu.Unlock()
	v.At, v.Trouble = found.at, found.trouble
	v.Keys.Rows = []keyRow{}
	if found.at.IsZero() {
		return v
	}
	v.Past = found.trouble != "" || v.Stats.Term != found.name.Term || v.Stats.LeaderPID != found.name.Leader.PID
	v.fill(&found.name, f)
	if l := found.name.Leadership; l.Matched > len(l.Keys) && f != (filter{}) && !v.Past {
		v.Keys = c.search(ctx, f, v.Keys)
	}
	return v
}

// search asks the leader for the keys that f keeps, since not all are here. It
// returns those that are, if the leader does not answer.
func (c *client) search(ctx context.Context, f filter, here keyTable) keyTable {
	name, err := c.Inspect(ctx, inspect.Query{Keys: true, Text: f.text, Stale: f.stale, Limit: maxKeys})
	if err != nil || name.Leadership == nil {
		return here
	}
	t := table(name.Leadership, filter{})
	t.Total, t.Stale = here.Total, here.Stale
	return t
}

// fill adds what the leader told. It is shared, so nothing of it is changed.
func (v *view) fill(name *inspect.Name, f filter) {
	shown, leadership := *name, *name.Leadership
	v.Followers = len(leadership.Followers)
	v.Keys = table(&leadership, f)
	leadership.Keys = nil
	leadership.Followers = leadership.Followers[:min(len(leadership.Followers), maxFollowers)]
	leadership.Registrations = leadership.Registrations[:min(len(leadership.Registrations), maxFollowers)]
	shown.Leadership = &leadership
	v.Name = &shown
}

// table returns those of the keys that f keeps: first what is stale.
func table(l *inspect.Leadership, f filter) keyTable {
	keys := l.Keys
	t := keyTable{Rows: []keyRow{}, Total: l.Matched}
	var rows []*inspect.Key
	for i := range keys {
		k := &keys[i]
		if k.Value.State != inspect.Fresh {
			t.Stale++
		}
		if f.keeps(k) {
			rows = append(rows, k)
		}
	}
	slices.SortStableFunc(rows, func(a, b *inspect.Key) int { return cmp.Compare(urgency(a), urgency(b)) })
	t.Matched = len(rows)
	if missing := l.Matched - len(keys); missing > 0 {
		t.Stale = max(t.Stale, l.Upstream.StaleKeys)
		if f == (filter{}) {
			t.Matched += missing
		}
	}
	for _, k := range rows[:min(len(rows), maxKeys)] {
		t.Rows = append(t.Rows, row(k))
	}
	return t
}

func urgency(k *inspect.Key) int {
	if k.Value.State == inspect.Fresh {
		return 1
	}
	return 0
}

// row lists each process that subscribes once.
func row(k *inspect.Key) keyRow {
	r := keyRow{Key: *k}
	pids := slices.Compact(slices.Clone(k.Subscribers))
	r.Processes = len(pids)
	r.Subscribers = pids[:min(len(pids), maxSubscribers)]
	return r
}
