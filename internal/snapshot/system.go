package snapshot

import (
	"io"
	"os"
	"time"
)

// A system is the part of the operating system that a [Store] needs. Tests
// have one that fails.
type system struct {
	open   func(path string, flag int) (file, error)
	rename func(from, to string) error
	remove func(path string) error
	check  func(dir string) error // makes dir, and refuses one that others can write
	lock   func(path string) (unlock func(), err error)
	pace   time.Duration // shortest time between two writes
}

type file interface {
	io.Reader
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

func osSystem() system {
	return system{
		open: func(path string, flag int) (file, error) {
			f, err := os.OpenFile(path, flag, 0o600) //nolint:gosec // the path is the caller's choice
			if err != nil {
				return nil, err
			}
			return f, nil
		},
		rename: os.Rename, remove: os.Remove, check: checkDir, lock: lock, pace: writeEvery,
	}
}
