package clustertest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"

	"github.com/clusterclient/clusterclient/leader"
)

// ErrKilled is what a connection fails with whose process was killed.
var ErrKilled = errors.New("clustertest: connection lost")

// An Upstream is a config centre in memory that does as the test says. Pass
// its Open method to clusterclient.WithUpstream, or let [New] do so. Every
// update is reported to every watch, in order, none left out. Its methods are
// safe for concurrent use.
type Upstream struct {
	// Methods, if not nil, registers what followers may invoke. Set it before
	// the first Open.
	Methods func(*leader.Registry)

	// Starts makes what Open returns a [leader.Starter]. Set it before the first
	// Open.
	Starts bool

	mu            sync.Mutex // guards what follows
	values        map[string]leader.Update
	version       int
	conns         map[*connection]struct{}
	opens         int
	watches       map[string]int // started so far, by key
	openErr       error
	watchErr      error
	publishErr    error
	registerErr   error
	hung          bool
	hungOpen      chan struct{} // nil unless opening hangs; closed to let it go on
	registrations map[RegistrationID]leader.Registration
	history       []RegistrationEvent
}

// A RegistrationID tells registrations apart.
type RegistrationID struct {
	Owner string
	ID    uint64
}

// A RegistrationEvent is one call of Register or Deregister.
type RegistrationEvent struct {
	Registered bool // false: deregistered
	leader.Registration
}

// NewUpstream returns an empty upstream.
func NewUpstream() *Upstream {
	return &Upstream{
		values: make(map[string]leader.Update), conns: make(map[*connection]struct{}), watches: make(map[string]int),
		registrations: make(map[RegistrationID]leader.Registration),
	}
}

// Open connects to u.
func (u *Upstream) Open(ctx context.Context) (leader.Upstream, error) {
	u.mu.Lock()
	hung := u.hungOpen
	u.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.opens++
	if u.openErr != nil {
		return nil, u.openErr
	}
	c := &connection{u: u, watchers: make(map[*watcher]struct{})}
	u.conns[c] = struct{}{}
	if u.Starts {
		return newStarter(c), nil
	}
	return c, nil
}

// Set makes data the value of key, with the next version.
func (u *Upstream) Set(key, data string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version++
	u.storeLocked(key, leader.Update{Data: []byte(data), Version: strconv.Itoa(u.version)})
}

// SetVersion makes data the value of key under a version of the caller's.
func (u *Upstream) SetVersion(key, data, version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.storeLocked(key, leader.Update{Data: []byte(data), Version: version})
}

// Delete removes key.
func (u *Upstream) Delete(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version++
	u.storeLocked(key, leader.Update{Deleted: true, Version: strconv.Itoa(u.version)})
}

func (u *Upstream) storeLocked(key string, v leader.Update) {
	u.values[key] = v
	for c := range u.conns {
		for w := range c.watchers {
			if w.key == key && !u.hung && !w.muted {
				w.add(v)
			}
		}
	}
}

// valueLocked returns the value of key as a watch reports it.
func (u *Upstream) valueLocked(key string) leader.Update {
	v, ok := u.values[key]
	v.Deleted = v.Deleted || !ok
	return v
}

// Opens returns how often Open was called.
func (u *Upstream) Opens() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.opens
}

// Connections returns how many connections are open.
func (u *Upstream) Connections() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}

// Watches returns how many watches of key are under way.
func (u *Upstream) Watches(key string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for c := range u.conns {
		for w := range c.watchers {
			if w.key == key {
				n++
			}
		}
	}
	return n
}

// WatchesStarted returns how many watches of key there have been.
func (u *Upstream) WatchesStarted(key string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.watches[key]
}

// Value returns the value of key; false when it has none.
func (u *Upstream) Value(key string) (string, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v, ok := u.values[key]
	return string(v.Data), ok && !v.Deleted
}

// Registrations returns what is registered now.
func (u *Upstream) Registrations() map[RegistrationID]leader.Registration {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.registrations)
}

// RegistrationHistory returns every call of Register and Deregister.
func (u *Upstream) RegistrationHistory() []RegistrationEvent {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Clone(u.history)
}
