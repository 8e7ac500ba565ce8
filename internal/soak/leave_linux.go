package soak

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	// leavePatience is how long all processes together may take to leave.
	leavePatience = 30 * time.Second

	// aged is how long ago, as far as anybody can tell, the files were made
	// that are to be swept.
	aged = time.Hour
)

// leave lets every process leave, and counts what is left.
func (c *cluster) leave() error {
	late := time.After(leavePatience)
	left := c.sendAway(late)
	// Those that were killed have left their sockets. One process that comes
	// long after them removes them.
	past := time.Now().Add(-aged)
	for _, name := range c.files() {
		if err := os.Chtimes(name, past, past); err != nil {
			return err
		}
	}
	if err := c.begin(); err != nil {
		return err
	}
	c.lives.Wait()
	left += c.sendAway(late)
	c.history.Add(Record{Kind: Count, Op: Processes, Count: left})
	leases := map[string]bool{}
	for _, name := range c.files() {
		if _, err := strconv.Atoi(filepath.Base(name)); err == nil && !leases[filepath.Dir(name)] {
			leases[filepath.Dir(name)] = true // one file remembers the term of each name
			continue
		}
		c.history.Add(Record{Kind: Count, Op: Files, Key: filepath.Base(name), Count: 1})
	}
	return nil
}

// sendAway lets the processes leave that there are, and returns how many did
// not.
func (c *cluster) sendAway(late <-chan time.Time) (left int) {
	for _, p := range c.alive(nil) {
		p.signal(Terminate, syscall.SIGTERM)
	}
	for _, p := range c.procs {
		select {
		case <-p.Gone():
		case <-late:
			left++
			p.signal(Kill, syscall.SIGKILL)
			<-p.Gone()
		}
	}
	return left
}

// files returns what lies in the runtime directory.
func (c *cluster) files() []string {
	var names []string
	_ = filepath.WalkDir(filepath.Join(c.dir, "run"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return nil
	})
	return names
}
