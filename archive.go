package clusterclient

import (
	"time"

	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/snapshot"
	"github.com/clusterclient/clusterclient/leader"
)

// An archive is what a leader has on disk: the snapshot, and the operator's
// overrides. A nil archive is that of a client without [WithSnapshot].
type archive struct {
	store     *snapshot.Store
	overrides *snapshot.Overrides
}

// openArchive reads what there is, at the beginning of a leadership.
func (c *Client) openArchive() *archive {
	if c.opts.snapshot == "" {
		return nil
	}
	store := snapshot.Open(snapshot.Config{
		Dir: c.opts.snapshot, Name: c.name, Identity: c.opts.identity, Logger: c.log.Named("snapshot"),
	})
	return &archive{store: store, overrides: store.Overrides()}
}

// close writes what is left. It is idempotent.
func (a *archive) close() {
	if a != nil {
		a.overrides.Close()
		a.store.Close()
	}
}

// empty reports whether there is nothing that could stand in for the upstream.
func (a *archive) empty() bool {
	return a == nil || a.store.Len() == 0 && a.overrides.Len() == 0
}

// written returns when the snapshot was brought up to date last; the zero Time
// without one.
func (a *archive) written() time.Time {
	if a == nil {
		return time.Time{}
	}
	return a.store.Written()
}

// serve gives ldr the overrides until the function that it returns is called.
func (a *archive) serve(ldr *leader.Leader) (stop func()) {
	if a == nil {
		return func() {}
	}
	a.overrides.Attach(func(key string, o *snapshot.Override) {
		if o == nil {
			ldr.Override(key, nil)
			return
		}
		ldr.Override(key, &leader.Override{Data: o.Data, Version: o.Version})
	})
	return func() { a.overrides.Attach(nil) }
}

// save returns what is to be called with what the upstream reports.
func (a *archive) save() func(string, leader.Update) {
	if a == nil {
		return nil
	}
	return func(key string, u leader.Update) {
		a.store.Put(snapshot.Value{Key: key, Data: u.Data, Version: u.Version, Deleted: u.Deleted})
	}
}

// seed returns the function that gives a new leader the values from before:
// what this process remembers, and else what is in the snapshot. What was an
// override is not what the upstream said.
func (c *Client) seed(a *archive) func(string) (leader.Seed, bool) {
	return func(key string) (leader.Seed, bool) {
		v, ok := c.driver.Newest(key)
		if ok && v.Origin != follower.OriginOverride && v.Origin != follower.OriginSnapshot {
			return leader.Seed{
				Update:   leader.Update{Data: v.Data, Version: v.Version, Deleted: v.Deleted},
				Revision: v.Revision,
				Since:    v.Since,
			}, true
		}
		if a == nil {
			return leader.Seed{}, false
		}
		kept, ok := a.store.Get(key)
		return leader.Seed{
			Update:   leader.Update{Data: kept.Data, Version: kept.Version, Deleted: kept.Deleted},
			Since:    kept.Saved,
			Snapshot: true,
		}, ok
	}
}
