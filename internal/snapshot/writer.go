package snapshot

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// writeEvery is the shortest time between two writes: what changes often
	// is written once for many changes.
	writeEvery = 200 * time.Millisecond

	// retryFirst and Longest bound the pause after a write that failed.
	retryFirst   = time.Second
	retryLongest = time.Minute

	// slack is how much of a file may be records that do not count, beside
	// as much again as those that do.
	slack = 1 << 20

	// keepUnused is how long the value of a key is kept that nobody has asked
	// for since the store was opened, usedWithin ago or more.
	keepUnused = 30 * 24 * time.Hour
	usedWithin = 24 * time.Hour

	// copyStep is how much is written at once.
	copyStep = 1 << 20
)

// A writer is the goroutine of a [Store] that has to do with the disk. Only
// that goroutine uses its fields, once it runs.
type writer struct {
	s      *Store
	began  time.Time
	unlock func() // nil while another process has the lock
	end    int64  // where the next record goes
	live   int64  // bytes of records that count
	anew   bool   // the file must be written as a whole
	failed bool   // the last attempt did, and that was said
}

// begin loads the file and takes the lock.
func (w *writer) begin() {
	s := w.s
	w.began = time.Now()
	if err := s.os.check(s.cfg.Dir); err != nil {
		w.complain("snapshot directory cannot be used, doing without", err)
		w.anew = true
		return
	}
	_ = w.takeLock() // tried again, with a warning, when there is something to write
	w.load()
}

func (w *writer) takeLock() (err error) {
	w.unlock, err = w.s.os.lock(w.s.path + ".lock")
	return err
}

// load makes the file's values those of the store.
func (w *writer) load() {
	s := w.s
	l := s.load()
	w.end, w.live, w.anew = l.end, l.live, l.file == nil
	if l.fault != nil {
		w.anew = true
	}
	if l.fault != nil && w.unlock != nil { // else another process may just be writing
		s.log.Warn("snapshot damaged or unusable, going on with what is left of it", "file", s.path, "values", len(l.index), "error", l.fault)
	}
	s.files.Lock()
	defer s.files.Unlock()
	if s.file != nil {
		_ = s.file.Close()
	}
	s.file = l.file
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = l.index
}

// complain warns once until a write succeeds.
func (w *writer) complain(what string, err error) {
	if !w.failed {
		w.s.log.Warn(what, "file", w.s.path, "error", err)
	}
	w.failed = true
}

func (w *writer) run() {
	defer close(w.s.done)
	defer w.finish()
	pause := retryFirst
	for {
		select {
		case <-w.s.bell:
		case <-w.s.quit:
			return
		}
		wait := w.s.os.pace
		if err := w.write(); err != nil {
			w.complain("snapshot not written, trying again", err)
			wait, pause = pause, min(2*pause, retryLongest)
			w.s.ring()
		} else {
			pause = retryFirst
		}
		if !w.sleep(wait) {
			return
		}
	}
}

// sleep returns false when the store is being closed.
func (w *writer) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.s.quit:
		return false
	}
}

func (s *Store) ring() {
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// finish writes what is left and lets another process write.
func (w *writer) finish() {
	if err := w.write(); err != nil {
		w.complain("snapshot not written, the newest values are not in it", err)
	}
	w.s.files.Lock()
	defer w.s.files.Unlock()
	if w.s.file != nil {
		_ = w.s.file.Close()
		w.s.file = nil
	}
	if w.unlock != nil {
		w.unlock()
	}
}

// write brings what is pending to the disk.
func (w *writer) write() error {
	s := w.s
	batch := s.take()
	if len(batch) == 0 {
		return nil
	}
	if err := w.hold(); err != nil {
		s.giveBack(batch)
		return err
	}
	if !w.anew {
		err := w.appendAll(batch)
		if err != nil {
			s.giveBack(batch)
			return err
		}
	}
	if w.anew || w.end > 2*w.live+slack {
		if err := w.rewrite(batch); err != nil {
			if w.anew {
				s.giveBack(batch)
			}
			return err
		}
	}
	s.written.Store(time.Now().UnixNano())
	if w.failed {
		w.failed = false
		s.log.Info("snapshot written again", "file", s.path)
	}
	return nil
}

// hold makes sure that nobody else writes. What the one before has written
// since this process read the file is read then.
func (w *writer) hold() error {
	if w.unlock != nil {
		return nil
	}
	if err := w.s.os.check(w.s.cfg.Dir); err != nil {
		return err
	}
	if err := w.takeLock(); err != nil {
		return err
	}
	w.load()
	return nil
}

// appendAll writes batch behind the last record. When it fails the file is as
// before, or is written anew the next time.
func (w *writer) appendAll(batch map[string]Value) error {
	o := output{f: w.s.file, at: w.end}
	entries := make(map[string]entry, len(batch))
	err := o.values(w.s, batch, entries)
	if err == nil {
		err = o.flush()
	}
	if err == nil {
		err = w.s.file.Sync()
	}
	if err != nil {
		if truncateErr := w.s.file.Truncate(w.end); truncateErr != nil {
			w.anew = true
		}
		return err
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for key, e := range entries {
		w.live += e.size - w.s.index[key].size
		w.s.index[key] = e
	}
	w.end = o.at
	return nil
}

// rewrite writes all values to another file, batch before what the present
// file has, and puts that in its place. When it fails nothing has changed.
func (w *writer) rewrite(batch map[string]Value) error {
	temp := w.s.path + ".new"
	index, o, err := w.writeTemp(temp, batch)
	if err != nil {
		_ = w.s.os.remove(temp)
		return err
	}
	return w.replace(temp, index, o.at)
}

func (w *writer) writeTemp(temp string, batch map[string]Value) (map[string]entry, *output, error) {
	_ = w.s.os.remove(temp) // of a process that was killed, or a link of somebody's
	f, err := w.s.os.open(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	o := &output{f: f, buf: header(w.s.print)}
	index := make(map[string]entry)
	if err := o.values(w.s, batch, index); err != nil {
		return nil, nil, err
	}
	if err := w.copyOld(o, batch, index); err != nil {
		return nil, nil, err
	}
	if err := o.flush(); err != nil {
		return nil, nil, err
	}
	return index, o, f.Sync()
}

// copyOld writes the values that are in the present file and still count. One
// that is not readable any more is left out.
func (w *writer) copyOld(o *output, batch map[string]Value, index map[string]entry) error {
	s := w.s
	s.mu.Lock()
	old, used := maps.Clone(s.index), maps.Clone(s.used)
	s.mu.Unlock()
	for key, e := range old {
		if _, newer := batch[key]; newer {
			continue
		}
		if !used[key] && time.Since(e.saved) > keepUnused && time.Since(w.began) > usedWithin {
			continue
		}
		v, err := readRecord(s.file, e)
		if err != nil {
			s.log.Warn("value in the snapshot lost", "file", s.path, "key", key, "error", err)
			continue
		}
		if err := o.value(s, &v, index); err != nil {
			return err
		}
	}
	return nil
}

// replace puts the file at temp, which is whole, in the place of the snapshot.
func (w *writer) replace(temp string, index map[string]entry, end int64) error {
	s := w.s
	s.files.Lock()
	defer s.files.Unlock()
	if s.file != nil { // not every system replaces a file that is open
		_ = s.file.Close()
		s.file = nil
	}
	err := s.os.rename(temp, s.path)
	if err == nil {
		s.syncDir()
	}
	f, openErr := s.os.open(s.path, os.O_RDWR)
	if openErr == nil {
		s.file = f
	}
	w.anew = openErr != nil
	if err != nil {
		return err
	}
	w.end, w.live = end, end-int64(headerSize)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index = index
	return openErr
}

// syncDir makes the new name last. Not every system can.
func (s *Store) syncDir() {
	if d, err := os.Open(filepath.Dir(s.path)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
}

// An output collects records and writes them in large steps.
type output struct {
	f   file
	at  int64 // where buf goes
	buf []byte
}

func (o *output) values(s *Store, batch map[string]Value, index map[string]entry) error {
	for _, key := range slices.Sorted(maps.Keys(batch)) {
		v := batch[key]
		if err := o.value(s, &v, index); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) value(s *Store, v *Value, index map[string]entry) (err error) {
	at := o.at + int64(len(o.buf))
	if o.buf, err = appendRecord(o.buf, v); err != nil {
		return fmt.Errorf("key %q: %w", v.Key, err)
	}
	index[v.Key] = entry{at: at, size: o.at + int64(len(o.buf)) - at, sum: s.sum(v), saved: v.Saved}
	if len(o.buf) >= copyStep {
		return o.flush()
	}
	return nil
}

func (o *output) flush() error {
	_, err := o.f.WriteAt(o.buf, o.at)
	o.at += int64(len(o.buf))
	o.buf = o.buf[:0]
	return err
}
