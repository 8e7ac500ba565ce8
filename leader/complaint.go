package leader

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	// complaintGather is how long a complaint waits for others: an upstream
	// that is lost fails all its watches at once.
	complaintGather = 100 * time.Millisecond

	// complaintEvery is the shortest time between two warnings.
	complaintEvery = 30 * time.Second
)

// A complaint makes one warning of what goes wrong with many keys.
type complaint struct {
	log hclog.Logger

	mu    sync.Mutex  // guards what follows
	timer *time.Timer // nil when nothing was said lately
	keys  int         // to complain of
	key   string      // one of them
	err   error       // its
	over  bool
}

// note has key complained of soon.
func (c *complaint) note(key string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return
	}
	if c.keys++; c.keys == 1 {
		c.key, c.err = key, err
	}
	if c.timer == nil {
		c.timer = time.AfterFunc(complaintGather, c.say)
	}
}

func (c *complaint) say() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == 0 || c.over {
		c.timer = nil
		return
	}
	c.log.Warn("watches of the upstream fail, trying again", "keys", c.keys, "key", c.key, "error", c.err)
	c.keys, c.err = 0, nil
	c.timer.Reset(complaintEvery)
}

func (c *complaint) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.timer != nil {
		c.timer.Stop()
	}
}
