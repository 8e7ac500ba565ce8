package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// loaded is what was found of a file.
type loaded struct {
	file  file // open for reading and, if possible, writing; nil when it is of no use
	index map[string]entry
	end   int64 // of the last whole record
	live  int64 // bytes of records that count
	fault error // what is wrong with the rest
}

// load reads the file. A file that is not there has no fault.
func (s *Store) load() loaded {
	l := loaded{index: make(map[string]entry)}
	f, err := s.os.open(s.path, os.O_RDWR)
	if errors.Is(err, fs.ErrPermission) {
		f, err = s.os.open(s.path, os.O_RDONLY)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return l
	}
	if err != nil {
		l.fault = err
		return l
	}
	if l.fault = s.accept(f); l.fault != nil {
		_ = f.Close()
		return l
	}
	l.file = f
	l.end, l.fault = scan(bufio.NewReaderSize(f, 1<<18), func(v Value, at, size int64) {
		if old, ok := l.index[v.Key]; ok {
			l.live -= old.size
		}
		s.written.Store(max(s.written.Load(), v.Saved.UnixNano()))
		l.index[v.Key] = entry{at: at, size: size, sum: s.sum(&v), saved: v.Saved}
		l.live += size
	})
	if l.fault != nil {
		l.fault = fmt.Errorf("%w; what comes before it is used, and what comes after is not", l.fault)
	}
	return l
}

// accept checks whose file it is, and its header.
func (s *Store) accept(f file) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file")
	}
	if err := checkOwner(s.path, info); err != nil {
		return err
	}
	b := make([]byte, headerSize)
	n, err := io.ReadFull(f, b)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return checkHeader(b[:n], s.print)
}
