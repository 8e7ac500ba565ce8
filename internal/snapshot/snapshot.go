// Package snapshot keeps the newest values of a cluster's keys in a file, for
// a start at which the upstream cannot be reached. The process that leads
// writes it; nobody waits for the disk.
//
// Whatever is wrong with the file, a [Store] works: it warns once and has
// fewer values, or none. It never has a value that was not written whole.
package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"maps"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// A Value is what is kept of a key.
type Value struct {
	Key     string
	Data    []byte // must not change
	Version string
	Deleted bool
	Saved   time.Time // set by the Store
}

// Config is what a [Store] needs to know.
type Config struct {
	Dir      string // is created, if the directory above it exists
	Name     string // of the cluster
	Identity []byte // of the upstream: another one has a file of its own
	Logger   hclog.Logger
}

// A Store is the snapshot of one cluster, while this process leads it. Its
// methods are safe for concurrent use.
type Store struct {
	cfg   Config
	os    system
	log   hclog.Logger
	path  string
	print [16]byte // fingerprint of name and identity
	seed  maphash.Seed

	mu      sync.Mutex // guards what follows; never held during I/O
	index   map[string]entry
	pending map[string]Value // not written yet, the newest of each key
	used    map[string]bool  // keys asked for or put in this life
	closed  bool

	written atomic.Int64 // when all there was had been written, in nanoseconds of Unix time; 0 for never

	bell chan struct{} // one slot: pending has something
	quit chan struct{} // closed by Close
	done chan struct{} // closed when the writer has ended

	files sync.RWMutex // held to read from file; taken whole to replace it
	file  file         // nil when there is none to read
	w     writer       // the writer's own
}

// An entry says where a value is in the file.
type entry struct {
	at    int64 // of the record
	size  int64 // of the record
	sum   uint64
	saved time.Time
}

// Open reads the snapshot of cfg, as far as there is one.
func Open(cfg Config) *Store { return open(cfg, osSystem()) }

func open(cfg Config, os system) *Store {
	s := &Store{
		cfg: cfg, os: os, log: cfg.Logger, seed: maphash.MakeSeed(),
		index: make(map[string]entry), pending: make(map[string]Value), used: make(map[string]bool),
		bell: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	sum := sha256.Sum256(append([]byte(cfg.Name+"\x00"), cfg.Identity...))
	copy(s.print[:], sum[:])
	s.path = filepath.Join(cfg.Dir, fileName(cfg.Name, s.print))
	s.w.s = s
	s.w.begin()
	go s.w.run()
	return s
}

// fileName is the same for the same cluster, and fits any file system.
func fileName(name string, fingerprint [16]byte) string {
	const longest = 100
	escaped := url.PathEscape(name)
	return escaped[:min(len(escaped), longest)] + "-" + hex.EncodeToString(fingerprint[:4]) + ".snapshot"
}

// Len returns how many values there are.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.index)
	for key := range s.pending {
		if _, ok := s.index[key]; !ok {
			n++
		}
	}
	return n
}

// Written returns when all there was had been brought to the disk, by this
// process or one before; the zero Time if never.
func (s *Store) Written() time.Time {
	if at := s.written.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Get returns the value of key. It reads the disk.
func (s *Store) Get(key string) (Value, bool) {
	s.files.RLock()
	defer s.files.RUnlock()
	s.mu.Lock()
	e, ok := s.index[key]
	v, newer := s.pending[key]
	s.used[key] = true
	s.mu.Unlock()
	switch {
	case newer:
		return v, true
	case !ok || s.file == nil:
		return Value{}, false
	}
	v, err := readRecord(s.file, e)
	if err != nil || v.Key != key {
		s.log.Warn("value in the snapshot not readable, doing without", "file", s.path, "key", key, "error", err)
		return Value{}, false
	}
	return v, true
}

// Put has v written soon. It never waits for the disk: while that is slow, or
// full, the newest value of each key waits.
func (s *Store) Put(v Value) {
	v.Saved = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.used[v.Key] = true
	s.pending[v.Key] = v
	s.ring()
}

// sum tells values apart.
func (s *Store) sum(v *Value) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(v.Version)
	_ = h.WriteByte(0)
	if v.Deleted {
		_ = h.WriteByte(1)
	}
	_, _ = h.Write(v.Data)
	return h.Sum64()
}

// take returns what is to be written. What is in the file already is not.
func (s *Store) take() map[string]Value {
	s.mu.Lock()
	batch := s.pending
	s.pending = make(map[string]Value)
	index := s.index // the writer's own, but for the mutex
	s.mu.Unlock()
	maps.DeleteFunc(batch, func(key string, v Value) bool {
		e, ok := index[key]
		return ok && e.sum == s.sum(&v)
	})
	return batch
}

// giveBack has what could not be written wait, unless something newer does.
func (s *Store) giveBack(batch map[string]Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(batch, s.pending)
	s.pending = batch
}

// closePatience bounds how long Close waits for the disk.
const closePatience = 2 * time.Second

// Close writes what is left and returns when that is done, or takes too long.
func (s *Store) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.quit)
	}
	s.mu.Unlock()
	late := time.NewTimer(closePatience)
	defer late.Stop()
	select {
	case <-s.done:
	case <-late.C:
		s.log.Warn("snapshot not written in time, the newest values are not in it", "file", s.path)
	}
}
