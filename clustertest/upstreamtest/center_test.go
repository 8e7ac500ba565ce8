package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// expiry is how long a center keeps what an adapter that is gone announced.
const expiry = 200 * time.Millisecond

var (
	errDown      = errors.New("the center is down")
	errCompacted = errors.New("the center has forgotten")
)

// A center is a config centre in memory, and the harness of its adapters.
type center struct {
	fault fault         // what its adapters do wrong
	gone  chan struct{} // closed at the test's end, to free what hangs

	outages, compactions atomic.Int32

	mu      sync.Mutex
	down    bool              // guarded by mu
	rev     int64             // guarded by mu
	oldest  int64             // first revision in events; guarded by mu
	events  []event           // guarded by mu
	values  map[string]stored // guarded by mu
	changed chan struct{}     // closed and replaced at each change; guarded by mu
}

// An event is a change of a key.
type event struct {
	key   string
	rev   int64
	state state
}

// stored is a value and the adapter that keeps it alive, if one has to.
type stored struct {
	data   []byte
	rev    int64
	holder *adapter
}

func newCenter(f fault) *center {
	return &center{fault: f, gone: make(chan struct{}), oldest: 1, values: map[string]stored{}, changed: make(chan struct{})}
}

// note runs do with the mutex held, unless the center is down, and wakes those
// who wait.
func (c *center) note(ctx context.Context, do func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return errDown
	}
	do()
	c.wakeLocked()
	return nil
}

func (c *center) wakeLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *center) putLocked(key string, data []byte, holder *adapter) {
	c.rev++
	c.values[key] = stored{data, c.rev, holder}
	c.events = append(c.events, event{key, c.rev, state{data: data}})
}

func (c *center) deleteLocked(key string) {
	if _, ok := c.values[key]; !ok {
		return
	}
	c.rev++
	delete(c.values, key)
	c.events = append(c.events, event{key, c.rev, state{deleted: true}})
}

// expire drops what holder announced, after a time.
func (c *center) expire(holder *adapter) {
	time.AfterFunc(expiry/2, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for key, v := range c.values {
			if v.holder == holder {
				c.deleteLocked(key)
			}
		}
		c.wakeLocked()
	})
}

// read returns what key is, and the revision of the whole.
func (c *center) read(key string) (v stored, exists bool, rev int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return stored{}, false, 0, errDown
	}
	v, exists = c.values[key]
	return v, exists, c.rev, nil
}

// since returns the events after rev, and what to wait for when there are none.
func (c *center) since(rev int64) ([]event, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.down:
		return nil, c.changed, errDown
	case rev+1 < c.oldest:
		return nil, c.changed, errCompacted
	default:
		return c.events[rev+1-c.oldest:], c.changed, nil
	}
}

func (c *center) Open(context.Context) (leader.Upstream, error) {
	a := &adapter{c: c, mine: map[string]leader.Registration{}, cache: map[string]leader.Update{}}
	if c.fault == leaksGoroutine {
		go func() { <-c.gone }()
	}
	if c.fault == watchesOnly {
		return struct{ leader.Upstream }{a}, nil
	}
	if c.fault == starts || c.fault == neverEnds || c.fault == startsSlowly {
		return &starter{a}, nil
	}
	return a, nil
}

func (c *center) Set(ctx context.Context, key string, data []byte) error {
	return c.note(ctx, func() { c.putLocked(key, bytes.Clone(data), nil) })
}

func (c *center) Delete(ctx context.Context, key string) error {
	return c.note(ctx, func() { c.deleteLocked(key) })
}

func (c *center) Get(_ context.Context, key string) ([]byte, bool, error) {
	v, exists, _, err := c.read(key)
	return v.data, exists, err
}

func (c *center) Stop(ctx context.Context) error {
	return c.note(ctx, func() { c.down = true; c.outages.Add(1) })
}

func (c *center) Start(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = false
	c.wakeLocked()
	return nil
}

func (c *center) Compact(ctx context.Context) error {
	return c.note(ctx, func() {
		c.events = nil
		c.oldest = c.rev + 1
		c.compactions.Add(1)
	})
}

func (c *center) Expiry() time.Duration { return expiry }
