//go:build unix

package runtimedir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

func TestOpenCreatesAClosedDirectory(t *testing.T) {
	want := filepath.Join(t.TempDir(), "run")
	var all sync.WaitGroup
	for range 8 { // whoever comes first
		all.Go(func() {
			path, err := runtimedir.Open(want)
			if err != nil || path != want {
				t.Errorf("Open(%q) = %q, %v", want, path, err)
			}
		})
	}
	all.Wait()
	info, err := os.Stat(want)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700)|os.ModeDir, info.Mode())

	require.NoError(t, os.Remove(want)) // as at a logout
	_, err = runtimedir.Open(want)
	require.NoError(t, err)
}

func TestOpenRefuses(t *testing.T) {
	mkdir := func(t *testing.T, path string, mode os.FileMode) {
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.Chmod(path, mode))
	}
	for _, tt := range []struct {
		name  string
		make  func(t *testing.T, path string)
		wants []string
	}{
		{"a directory that others can read", func(t *testing.T, path string) { mkdir(t, path, 0o750) }, []string{"mode 0750", "open to other users", "chmod 700 "}},
		{"a directory that others can write", func(t *testing.T, path string) { mkdir(t, path, 0o702) }, []string{"mode 0702", "open to other users"}},
		{"a directory that is read-only", func(t *testing.T, path string) { mkdir(t, path, 0o500) }, []string{"mode 0500", "closed to its owner"}},
		{"a symbolic link", func(t *testing.T, path string) {
			mkdir(t, path+"-elsewhere", 0o700)
			require.NoError(t, os.Symlink(path+"-elsewhere", path))
		}, []string{"is a symbolic link", "remove it"}},
		{"a symbolic link to nothing", func(t *testing.T, path string) {
			require.NoError(t, os.Symlink(path+"-elsewhere", path))
		}, []string{"is a symbolic link"}},
		{"a file", func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o700)) }, []string{"is not a directory"}},
		{"a directory that others can replace", func(t *testing.T, path string) {
			mkdir(t, path, 0o700)
			require.NoError(t, os.Chmod(filepath.Dir(path), 0o777))
		}, []string{"mode 0777", "lets other users replace", "chmod go-w "}},
		{"a directory of another user", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			mkdir(t, path, 0o700)
			require.NoError(t, os.Chown(path, 12345, -1))
		}, []string{"owner 12345", "is not of user 0"}},
		{"a directory in another user's", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			require.NoError(t, os.Chown(filepath.Dir(path), 12345, -1))
		}, []string{"owner 12345", "belongs to another user"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run")
			tt.make(t, path)
			_, err := runtimedir.Open(path)
			for _, want := range append(tt.wants, filepath.Dir(path)) {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestOpenDoesNotCreateParents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent", "run")
	_, err := runtimedir.Open(path)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, path)
}

func TestDefault(t *testing.T) {
	own, tmp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", tmp)
	t.Setenv("XDG_RUNTIME_DIR", own)
	require.Equal(t, filepath.Join(own, "clusterclient"), runtimedir.Default())
	path, err := runtimedir.Open("")
	require.NoError(t, err)
	require.Equal(t, filepath.Join(own, "clusterclient"), path)

	fallback := filepath.Join(tmp, fmt.Sprintf("clusterclient-%d", os.Geteuid()))
	if run := fmt.Sprintf("/run/user/%d", os.Geteuid()); isDir(run) {
		fallback = filepath.Join(run, "clusterclient")
	}
	for _, unusable := range []string{"", "relative", filepath.Join(own, "absent")} {
		t.Setenv("XDG_RUNTIME_DIR", unusable)
		require.Equal(t, fallback, runtimedir.Default(), "XDG_RUNTIME_DIR=%q", unusable)
	}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(own, 12345, -1))
		t.Setenv("XDG_RUNTIME_DIR", own)
		require.Equal(t, fallback, runtimedir.Default(), "a directory of another user")
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
