package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// Config is what a cluster is made of.
type Config struct {
	Processes   int           // that it has when all is well
	Names       int           // every second process is in the second cluster, too, and so on
	Keys        int           // of each name
	ChangeEvery time.Duration // values; 0 for never
	CallPause   time.Duration // of each caller between calls, on average; 0 for no callers
	BusyPause   time.Duration // the same in every fourth process, whose sessions get lanes; 0 for CallPause
	Depose      time.Duration // after which a leader that hangs is replaced; 0 for the default
	SlowReader  time.Duration // pause of the slow readers among the subscribers after each value
	TellAfter   time.Duration // for which processes may keep what they see to themselves; 0 for no time
	Herald      bool          // the first key has a new value whenever a leader opens the centre, and confirmed is what subscribers yield
	Unlisted    bool          // the processes do not register themselves
}

// A cluster is what runs under faults: the processes, the centre, and what
// changes its values.
type cluster struct {
	*processtest.Board // guards what is in procs and centre

	cfg     Config
	history *History
	dir     string // for the runtime directory, and for what is kept of a failure
	env     []string
	port    int
	centre  *centre
	procs   []*proc
	lives   sync.WaitGroup // of processes that are being made to do what they are to do

	done    chan struct{} // closed at the end
	helpers sync.WaitGroup
	quiet   bool         // guarded by the board: nothing is changed now
	stalled atomic.Int64 // nanoseconds for which the driver did not run, since the last rest began
}

// newCluster starts a centre and the processes. Nothing is left when it fails.
func newCluster(cfg Config) (_ *cluster, err error) {
	c := &cluster{Board: processtest.NewBoard(), cfg: cfg, history: &History{}, done: make(chan struct{})}
	if c.dir, err = os.MkdirTemp("", "soak-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.close()
			_ = os.RemoveAll(c.dir)
		}
	}()
	c.env = []string{"XDG_RUNTIME_DIR=" + filepath.Join(c.dir, "run")}
	if cfg.TellAfter > 0 {
		c.env = append(c.env, processtest.TellAfter(cfg.TellAfter))
	}
	if err := os.Mkdir(filepath.Join(c.dir, "run"), 0o700); err != nil {
		return nil, err
	}
	if c.port, err = processtest.FreePort(); err != nil {
		return nil, err
	}
	if c.centre, err = newCentre(c); err != nil {
		return nil, err
	}
	c.helpers.Go(c.watchClock)
	c.helpers.Go(c.changeValues)
	return c, c.grow()
}

func (c *cluster) keysOf(name string) []string {
	var keys []string
	for i := range c.cfg.Keys {
		keys = append(keys, fmt.Sprintf("%s/k%d", name, i))
	}
	return keys
}

func (c *cluster) names() []string {
	var names []string
	for i := range c.cfg.Names {
		names = append(names, string(rune('c'+i)))
	}
	return names
}

func (c *cluster) allKeys() []string {
	var keys []string
	for _, name := range c.names() {
		keys = append(keys, c.keysOf(name)...)
	}
	return keys
}

// nameOf returns the cluster's name that a key belongs to.
func (c *cluster) nameOf(key string) string {
	if strings.HasPrefix(key, "r/") {
		return c.names()[0]
	}
	name, _, _ := strings.Cut(key, "/")
	return name
}

// begin starts one more process, which lives from then on.
func (c *cluster) begin() error {
	n := processtest.Read(c, func() int { return len(c.procs) })
	var names []string
	for i, name := range c.names() {
		if n%(1<<i) == 0 {
			names = append(names, name)
		}
	}
	p, err := c.spawn(names)
	if err == nil {
		c.lives.Go(func() { c.live(p) })
	}
	return err
}

// grow starts processes until there are as many as there are to be.
func (c *cluster) grow() error {
	for len(c.alive(nil)) < c.cfg.Processes {
		if err := c.begin(); err != nil {
			return err
		}
	}
	return nil
}

// alive returns the processes that were not told to leave and for which ok,
// called with the board locked, is true.
func (c *cluster) alive(ok func(*proc) bool) []*proc {
	c.Lock()
	defer c.Unlock()
	var all []*proc
	for _, p := range c.procs {
		if !p.told && !p.ended && (ok == nil || ok(p)) {
			all = append(all, p)
		}
	}
	return all
}

// watchClock notes when the driver itself, and so maybe everybody, did not run.
func (c *cluster) watchClock() {
	const every, notable = 20 * time.Millisecond, 150 * time.Millisecond
	last := time.Now()
	for {
		select {
		case <-c.done:
			return
		case <-time.After(every):
		}
		if gap := time.Since(last); gap > notable {
			c.stalled.Add(int64(gap))
			c.history.Add(Record{Kind: Late, For: gap})
		}
		last = time.Now()
	}
}

// changeValues lets the centre's values change until the end, and processes
// write some.
func (c *cluster) changeValues() {
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for c.cfg.ChangeEvery > 0 {
		select {
		case <-c.done:
			return
		case <-time.After(time.Duration(rnd.Int64N(int64(2 * c.cfg.ChangeEvery)))):
		}
		if !processtest.Read(c, func() bool { return c.quiet }) {
			c.centre.change(rnd)
			if rnd.IntN(20) == 0 {
				c.write(rnd)
			}
		}
	}
}

// write makes some process write a value. What comes of it does not matter
// unless the write is acknowledged.
func (c *cluster) write(rnd *rand.Rand) {
	writers := c.alive(func(p *proc) bool { return p.ready && !p.stopped })
	if len(writers) == 0 {
		return
	}
	p := writers[rnd.IntN(len(writers))]
	name := p.names[rnd.IntN(len(p.names))]
	keys := c.keysOf(name)
	cmd := processtest.Command{Op: "publish", Name: name, Key: keys[rnd.IntN(len(keys))], Timeout: commandPatience}
	c.Change(func() {
		c.centre.sets++
		cmd.Data = c.centre.dataLocked(cmd.Key, rnd)
	})
	c.helpers.Go(func() {
		if e, ok := p.do(cmd); ok && e.Err == "" {
			c.history.Add(Record{At: e.At, Kind: Published, PID: p.PID, Key: cmd.Key, Data: brief(cmd.Data)})
		}
	})
}

// heal ends all faults.
func (c *cluster) heal() error {
	for _, p := range c.alive(func(p *proc) bool { return p.stopped }) {
		p.signal(Continue, syscall.SIGCONT)
	}
	c.centre.hang(false)
	if err := c.centre.restore(false, 0); err != nil {
		return err
	}
	return c.grow()
}

// close ends what is left.
func (c *cluster) close() {
	for _, p := range c.procs {
		p.Signal(syscall.SIGKILL)
		<-p.Gone()
	}
	c.lives.Wait()
	close(c.done)
	c.helpers.Wait()
	if c.centre != nil {
		c.centre.close()
	}
}
