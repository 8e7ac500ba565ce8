package clusterclient

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/clusterclient/clusterclient/internal/lease"
	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

// sharedDir is the directory that the processes of one user share on the
// host. It is asked for before each use, since it may go and come.
type sharedDir struct {
	open func() (string, error)
}

// simulatedHost is a [Network] that stands for a host with a runtime
// directory, a clock and processes of its own. Package clustertest has one.
type simulatedHost interface {
	RuntimeDir() (string, error)
	Now() time.Duration
	PID() int
	Alive(pid int) bool
}

// lookedFor is for how long the directory is taken to be as it was found. It
// is used several times when a leader has gone, by all processes of the host at
// once.
const lookedFor = 20 * time.Millisecond

// sometimes returns a function that calls open, unless that has returned a
// directory within lookedFor.
func sometimes(open func() (string, error)) func() (string, error) {
	type found struct {
		dir string
		at  time.Time
	}
	var last atomic.Pointer[found]
	return func() (string, error) {
		if f := last.Load(); f != nil && time.Since(f.at) < lookedFor {
			return f.dir, nil
		}
		dir, err := open()
		if err == nil {
			last.Store(&found{dir, time.Now()})
		}
		return dir, err
	}
}

var (
	errNoSharedDir = errors.New("switched off")
	errSingle      = errors.New("a single process shares nothing")
)

func newSharedDir(c *Client) sharedDir {
	d := sharedDir{open: sometimes(func() (string, error) { return runtimedir.Open(c.opts.runtimeDir) })}
	host, simulated := c.opts.network.(simulatedHost)
	switch {
	case c.opts.single:
		return sharedDir{open: func() (string, error) { return "", errSingle }}
	case c.opts.runtimeDir == NoRuntimeDir:
		return sharedDir{open: func() (string, error) { return "", errNoSharedDir }}
	case simulated && c.opts.runtimeDir == "":
		return sharedDir{open: host.RuntimeDir}
	}
	if _, err := d.open(); err != nil {
		c.log.Warn("doing without the directory that processes share", "error", err)
	}
	return d
}

// host is what the processes of this client's host agree on.
func (c *Client) host() lease.Host {
	if h, ok := c.opts.network.(simulatedHost); ok {
		return lease.Host{Now: h.Now, Self: lease.Process{PID: h.PID()}, Look: func(p lease.Process) lease.State {
			if h.Alive(p.PID) {
				return lease.Runs
			}
			return lease.Gone
		}}
	}
	return lease.System()
}

// describe returns the directory, or why there is none.
func (d sharedDir) describe() (dir, trouble string) {
	dir, err := d.open()
	if err != nil {
		return "", err.Error()
	}
	return dir, ""
}
