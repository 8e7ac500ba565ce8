// Package runtimedir has the directory that the processes of one user share on
// a host. What lies there is believed, so nobody else may write it, and some
// of it is not for others to read.
package runtimedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// name is that of the directory inside one that is the user's own.
const name = "clusterclient"

// Open returns the path of the directory, once it has made sure that the
// directory is there and that nobody else has access to it. An empty path
// stands for [Default]. It creates the directory itself, not those above it.
//
// What it has found holds for as long as the directory does: only its owner
// can replace it. It costs a few system calls, and is called again before each
// use, since a directory of this kind may be removed under a process, when its
// user logs out.
func Open(path string) (string, error) {
	if path == "" {
		path = Default()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("runtime directory: %w", err)
	}
	if err := check(path); !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("runtime directory: %w; create it with mode 0700, or choose another one", err)
	}
	return path, check(path)
}

// refuse says what is wrong with a directory, and what to do.
func refuse(path, owner string, mode fs.FileMode, what, todo string) error {
	return fmt.Errorf("runtime directory %s (owner %s, mode %04o) %s; %s, or choose another directory", path, owner, mode.Perm(), what, todo)
}
