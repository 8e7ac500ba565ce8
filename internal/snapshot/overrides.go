package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// overridesEvery is how often the overrides are looked at.
const overridesEvery = time.Second

// An Override is a value that the operator has written.
type Override struct {
	Data    []byte
	Version string // changes with the file
}

// Overrides are the files in one directory, each of which is the value of the
// key that it is named after, in the escaping of URLs: "%2F" is a slash. Names
// that begin with a full stop are left alone.
type Overrides struct {
	dir    string
	parent string
	log    hclog.Logger
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex // guards what follows; held while sink is called
	now  map[string]Override
	sink func(key string, o *Override) // may be nil

	seen  map[string]stamp // by file name; the goroutine's own
	taken map[string]stamp
}

// A stamp changes when a file does.
type stamp struct {
	changed time.Time
	size    int64
}

// Overrides returns the overrides of the cluster of s.
func (s *Store) Overrides() *Overrides {
	ctx, cancel := context.WithCancel(context.Background())
	o := &Overrides{
		dir: strings.TrimSuffix(s.path, ".snapshot") + ".override", parent: s.cfg.Dir,
		log: s.log, cancel: cancel, done: make(chan struct{}),
		now: make(map[string]Override), seen: make(map[string]stamp), taken: make(map[string]stamp),
	}
	if checkDir(o.parent) == nil {
		_ = os.Mkdir(o.dir, 0o700) // so that it is found
	}
	o.look(true)
	go o.run(ctx)
	return o
}

// Len returns how many overrides there are.
func (o *Overrides) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.now)
}

// Attach calls sink with each override there is, and then with each one that
// comes, changes or, with nil, goes. It replaces the sink before.
func (o *Overrides) Attach(sink func(key string, o *Override)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sink = sink
	for key, v := range o.now {
		if sink != nil {
			sink(key, &v)
		}
	}
}

// Close returns when no sink is called any more.
func (o *Overrides) Close() {
	o.cancel()
	<-o.done
}

func (o *Overrides) run(ctx context.Context) {
	defer close(o.done)
	tick := time.NewTicker(overridesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			o.look(false)
		case <-ctx.Done():
			return
		}
	}
}

// look takes what is new. A file is taken when it was the same the last time,
// or at once if first, lest it is taken while it is being written.
func (o *Overrides) look(first bool) {
	found := make(map[string]stamp)
	for _, e := range o.list() {
		if info, err := e.Info(); err == nil && !strings.HasPrefix(e.Name(), ".") {
			found[e.Name()] = stamp{info.ModTime(), info.Size()}
		}
	}
	for name, st := range found {
		if settled := first || o.seen[name] == st; settled && o.taken[name] != st {
			o.taken[name] = st
			o.take(name, st)
		}
	}
	for name := range o.taken {
		if _, still := found[name]; !still {
			delete(o.taken, name)
			o.drop(name)
		}
	}
	o.seen = found
}

// list returns the files. A directory that is not there has none, and neither
// has one that others can write.
func (o *Overrides) list() []fs.DirEntry {
	if _, err := os.Lstat(o.dir); err != nil || checkDir(o.parent) != nil || checkDir(o.dir) != nil {
		return nil
	}
	all, _ := os.ReadDir(o.dir)
	return all
}

func (o *Overrides) take(name string, st stamp) {
	key, data, err := o.read(name)
	if err != nil {
		o.log.Warn("override not used", "file", filepath.Join(o.dir, name), "error", err)
		o.drop(name)
		return
	}
	o.log.Warn("key overridden by a file", "key", key, "file", filepath.Join(o.dir, name), "bytes", len(data))
	v := Override{Data: data, Version: "override-" + strconv.FormatInt(st.changed.UnixNano(), 36)}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now[key] = v
	if o.sink != nil {
		o.sink(key, &v)
	}
}

func (o *Overrides) drop(name string) {
	key, _ := url.PathUnescape(name)
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, had := o.now[key]; !had {
		return
	}
	delete(o.now, key)
	o.log.Warn("key no longer overridden", "key", key)
	if o.sink != nil {
		o.sink(key, nil)
	}
}

func (o *Overrides) read(name string) (key string, data []byte, err error) {
	if key, err = url.PathUnescape(name); err != nil {
		return "", nil, fmt.Errorf("its name is no key, escaped as in a URL: %w", err)
	}
	if !utf8.ValidString(key) {
		return "", nil, errors.New("its name is no key: not UTF-8")
	}
	path := filepath.Join(o.dir, name)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", nil, err
	case !info.Mode().IsRegular():
		return "", nil, errors.New("it is not a regular file")
	case info.Size() > wire.MaxMessage:
		return "", nil, fmt.Errorf("it has %d bytes, at most %d are allowed", info.Size(), wire.MaxMessage)
	}
	if err := checkOwner(path, info); err != nil {
		return "", nil, err
	}
	data, err = os.ReadFile(path) //nolint:gosec // it lies in the directory
	return key, data, err
}
