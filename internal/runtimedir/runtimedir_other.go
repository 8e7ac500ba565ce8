//go:build !unix

package runtimedir

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Default returns clusterclient in the directory for temporary files, which
// is the user's own.
func Default() string { return filepath.Join(os.TempDir(), name) }

// check returns nil if path is a directory and no link to one. Who may use it
// is inherited from the directory that it is in.
func check(path string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return fmt.Errorf("runtime directory: %w", err)
	case info.Mode()&(fs.ModeSymlink|fs.ModeIrregular) != 0:
		return refuse(path, "unknown", info.Mode(), "is a link, which could be turned elsewhere", "remove it")
	case !info.IsDir():
		return refuse(path, "unknown", info.Mode(), "is not a directory", "remove it")
	}
	return nil
}

// openFile opens a file for reading. Who may do so, and put another one in its
// place, is inherited from the directory that it is in.
func openFile(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, refuseFile(path, "unknown", info.Mode(), "is not a file")
	}
	return os.Open(path)
}
