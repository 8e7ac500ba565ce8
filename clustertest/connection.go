package clustertest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/clusterclient/clusterclient/leader"
)

// connection is what Open returns.
type connection struct {
	u        *Upstream
	watchers map[*watcher]struct{} // guarded by u.mu, as is closed
	closed   error
	blind    error // nothing gets through

	bell chan struct{} // of all watches, one slot: rung when there may be something to do; nil in one that is no starter
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
	w, err := c.watch(key, make(chan struct{}, 1))
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

// watch adds a watcher of key, for which bell is rung.
func (c *connection) watch(key string, bell chan struct{}) (*watcher, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(c.closed, c.blind); err != nil {
		return nil, err
	}
	c.u.watches[key]++
	w := &watcher{key: key, bell: bell}
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
func (c *connection) Get(ctx context.Context, key string) (leader.Update, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(ctx.Err(), c.closed, c.blind, c.u.watchErr); err != nil {
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
func (c *connection) Publish(ctx context.Context, key string, data []byte) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(ctx.Err(), c.closed, c.blind, c.u.publishErr); err != nil {
		return err
	}
	c.u.version++
	c.u.storeLocked(key, leader.Update{Data: slices.Clone(data), Version: strconv.Itoa(c.u.version)})
	return nil
}

// Register keeps r.
func (c *connection) Register(ctx context.Context, r leader.Registration) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(ctx.Err(), c.closed, c.blind, c.u.registerErr); err != nil {
		return err
	}
	r.Data = slices.Clone(r.Data)
	c.u.registrations[RegistrationID{r.Owner.Instance, r.ID}] = r
	c.u.history = append(c.u.history, RegistrationEvent{Registered: true, Registration: r})
	return nil
}

// Deregister forgets r.
func (c *connection) Deregister(ctx context.Context, r leader.Registration) error {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	if err := cmp.Or(ctx.Err(), c.closed, c.blind, c.u.registerErr); err != nil {
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
	ring(c.bell)
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

func (w *watcher) ring() { ring(w.bell) }

// ring wakes whoever waits for a bell of one slot, if there is one.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
