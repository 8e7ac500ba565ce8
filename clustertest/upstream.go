package clustertest

import (
	"cmp"
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

// FailWatches makes every watch return err, and new ones too, until it is
// called with nil.
func (u *Upstream) FailWatches(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watchErr = err
	for c := range u.conns {
		for w := range c.watchers {
			w.ring()
		}
	}
}

// Hang makes watches go silent, and new ones too, or lets them go on.
func (u *Upstream) Hang(hung bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.hung = hung
	for c := range u.conns {
		for w := range c.watchers {
			if !hung && !w.muted {
				w.add(u.valueLocked(w.key))
			}
		}
	}
}

// FailOpen makes Open fail with err until it is called with nil.
func (u *Upstream) FailOpen(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.openErr = err
}

// Mute makes the watches that are under way go silent for good, as if the
// connection had forgotten them. New ones work.
func (u *Upstream) Mute() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.conns {
		for w := range c.watchers {
			w.muted = true
		}
	}
}

// HangOpen makes Open wait for its context, or lets it go on.
func (u *Upstream) HangOpen(hung bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hungOpen != nil {
		close(u.hungOpen)
		u.hungOpen = nil
	}
	if hung {
		u.hungOpen = make(chan struct{})
	}
}

// FailPublish makes Publish fail with err until it is called with nil.
func (u *Upstream) FailPublish(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.publishErr = err
}

// FailRegister makes Register and Deregister fail with err until it is called
// with nil.
func (u *Upstream) FailRegister(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.registerErr = err
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

// connection is what Open returns.
type connection struct {
	u        *Upstream
	watchers map[*watcher]struct{} // guarded by u.mu, as is closed
	closed   error
	blind    error // nothing gets through
}

var (
	_ leader.Upstream  = (*connection)(nil)
	_ leader.Getter    = (*connection)(nil)
	_ leader.Prober    = (*connection)(nil)
	_ leader.Publisher = (*connection)(nil)
	_ leader.Registrar = (*connection)(nil)
	_ leader.Service   = (*connection)(nil)
)

// RegisterMethods registers u.Methods.
func (c *connection) RegisterMethods(r *leader.Registry) {
	if c.u.Methods != nil {
		c.u.Methods(r)
	}
}

// Watch reports every update of key, and its absence first when it has none.
func (c *connection) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	w, err := c.watch(key)
	if err != nil {
		return err
	}
	defer c.unwatch(w)
	for {
		updates, err := c.take(w)
		for _, v := range updates {
			sink(v)
		}
		if err != nil {
			return err
		}
		select {
		case <-w.bell:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *connection) watch(key string) (*watcher, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind); err != nil {
		return nil, err
	}
	c.u.watches[key]++
	w := &watcher{key: key, bell: make(chan struct{}, 1)}
	c.watchers[w] = struct{}{}
	if !c.u.hung {
		w.add(c.u.valueLocked(key))
	}
	return w, nil
}

func (c *connection) unwatch(w *watcher) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	delete(c.watchers, w)
}

// take returns what w has to report, and why it has to end.
func (c *connection) take(w *watcher) ([]leader.Update, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind, c.u.watchErr); err != nil {
		return nil, err
	}
	updates := w.updates
	w.updates = nil
	return updates, nil
}

// Get returns the value of key.
func (c *connection) Get(_ context.Context, key string) (leader.Update, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind, c.u.watchErr); err != nil {
		return leader.Update{}, err
	}
	return c.u.valueLocked(key), nil
}

// Probe fails as watches do, and waits for ctx while they are silent.
func (c *connection) Probe(ctx context.Context) error {
	c.u.mu.Lock()
	err, hung := cmp.Or(c.closed, c.blind, c.u.watchErr), c.u.hung
	c.u.mu.Unlock()
	if err == nil && hung {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// Publish sets the value of key.
func (c *connection) Publish(_ context.Context, key string, data []byte) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind, c.u.publishErr); err != nil {
		return err
	}
	c.u.version++
	c.u.storeLocked(key, leader.Update{Data: slices.Clone(data), Version: strconv.Itoa(c.u.version)})
	return nil
}

// Register keeps r.
func (c *connection) Register(_ context.Context, r leader.Registration) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind, c.u.registerErr); err != nil {
		return err
	}
	c.u.registrations[RegistrationID{r.Owner.Instance, r.ID}] = r
	c.u.history = append(c.u.history, RegistrationEvent{Registered: true, Registration: r})
	return nil
}

// Deregister forgets r.
func (c *connection) Deregister(_ context.Context, r leader.Registration) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind, c.u.registerErr); err != nil {
		return err
	}
	delete(c.u.registrations, RegistrationID{r.Owner.Instance, r.ID})
	c.u.history = append(c.u.history, RegistrationEvent{Registration: r})
	return nil
}

// Close ends the connection.
func (c *connection) Close() error {
	c.end(errors.New("clustertest: connection closed"))
	return nil
}

// turnBlind makes nothing get through, until it is called with nil.
func (c *connection) turnBlind(err error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.blind = err
	for w := range c.watchers {
		w.ring()
	}
}

func (c *connection) end(err error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if c.closed != nil {
		return
	}
	c.closed = err
	delete(c.u.conns, c)
	for w := range c.watchers {
		w.ring()
	}
}

// watcher is one watch of one key.
type watcher struct {
	key     string
	bell    chan struct{} // one slot
	updates []leader.Update
	muted   bool
}

func (w *watcher) add(v leader.Update) {
	w.updates = append(w.updates, v)
	w.ring()
}

func (w *watcher) ring() {
	select {
	case w.bell <- struct{}{}:
	default:
	}
}
