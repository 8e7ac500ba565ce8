//go:build unix

package runtimedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// Default returns the first of these, in a directory that belongs to the user
// this process runs as: clusterclient in $XDG_RUNTIME_DIR; clusterclient in
// /run/user/UID on Linux, so that a service finds what a login session with
// that variable set has found; and clusterclient-UID in the directory for
// temporary files.
func Default() string {
	uid := strconv.Itoa(os.Geteuid())
	candidates := []string{os.Getenv("XDG_RUNTIME_DIR")}
	if runtime.GOOS == "linux" {
		candidates = append(candidates, "/run/user/"+uid)
	}
	for _, dir := range candidates {
		// The variable outlives a change of the user, by sudo or su.
		if info, err := os.Stat(dir); err == nil && filepath.IsAbs(dir) && info.IsDir() && owner(info) == os.Geteuid() {
			return filepath.Join(dir, name)
		}
	}
	return filepath.Join(os.TempDir(), name+"-"+uid)
}

// check returns nil if path is a directory, no link to one, that belongs to
// the user this process runs as, that only this user has access to, and that
// others cannot replace.
func check(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err) // not there, or not to be reached
	}
	who, mode := strconv.Itoa(owner(info)), info.Mode()
	switch {
	case mode&fs.ModeSymlink != 0:
		return refuse(path, who, mode, "is a symbolic link, which could be turned elsewhere", "remove it")
	case !mode.IsDir():
		return refuse(path, who, mode, "is not a directory", "remove it")
	case owner(info) != os.Geteuid():
		return refuse(path, who, mode, fmt.Sprintf("is not of user %d, which this process runs as", os.Geteuid()), "remove it")
	case mode.Perm()&0o077 != 0:
		return refuse(path, who, mode, "is open to other users", "chmod 700 "+path)
	case mode.Perm()&0o700 != 0o700:
		return refuse(path, who, mode, "is closed to its owner", "chmod 700 "+path)
	}
	return checkParent(filepath.Dir(path))
}

// openFile opens a file for reading that only the user this process runs as can
// read, write or put in its place: not a link, and nothing that waits or answers.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link; remove it, and a new one is made", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = checkFile(path, info)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func checkFile(path string, info fs.FileInfo) error {
	who, mode := strconv.Itoa(owner(info)), info.Mode()
	switch {
	case !mode.IsRegular():
		return refuseFile(path, who, mode, "is not a file")
	case owner(info) != os.Geteuid():
		return refuseFile(path, who, mode, fmt.Sprintf("is not of user %d, which this process runs as", os.Geteuid()))
	case mode.Perm()&0o077 != 0:
		return refuseFile(path, who, mode, "is open to other users")
	}
	return nil
}

// checkParent refuses a directory in which others could put another one in
// the place of ours.
func checkParent(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("runtime directory: %w", err)
	}
	who, mode := strconv.Itoa(owner(info)), info.Mode()
	switch {
	case mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0:
		return refuse(dir, who, mode, "lets other users replace what is in it", "chmod go-w "+dir)
	case owner(info) != os.Geteuid() && owner(info) != 0:
		return refuse(dir, who, mode, "belongs to another user, who could replace what is in it", "use one of root's or your own")
	}
	return nil
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
