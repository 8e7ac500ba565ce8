//go:build unix

package runtimedir_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

func TestSecretIsMadeOnce(t *testing.T) {
	dir, err := runtimedir.Open(filepath.Join(t.TempDir(), "run"))
	require.NoError(t, err)
	const all = 16
	var makers sync.WaitGroup
	secrets := make([][]byte, all)
	for i := range all { // whoever comes first
		makers.Go(func() {
			var err error
			if secrets[i], err = runtimedir.Secret(dir); err != nil {
				t.Error(err)
			}
		})
	}
	makers.Wait()
	for _, secret := range secrets {
		require.Len(t, secret, 32)
		require.Equal(t, secrets[0], secret)
	}
	info, err := os.Lstat(filepath.Join(dir, "secret"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing else is left there")

	other, err := runtimedir.Open(filepath.Join(t.TempDir(), "run"))
	require.NoError(t, err)
	another, err := runtimedir.Secret(other)
	require.NoError(t, err)
	require.NotEqual(t, secrets[0], another)
}

func TestSecretsThatAreNotBelieved(t *testing.T) {
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"others can read it", func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o640)) }, "mode 0640) is open to other users; remove it"},
		{"others can write it", func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o602)) }, "mode 0602) is open to other users"},
		{"of another user", func(t *testing.T, path string) {
			if os.Geteuid() != 0 {
				t.Skip("only root can give a file away")
			}
			require.NoError(t, os.Chown(path, 12345, -1))
		}, "owner 12345, mode 0600) is not of user 0"},
		{"a link", func(t *testing.T, path string) {
			require.NoError(t, os.Rename(path, path+"-elsewhere"))
			require.NoError(t, os.Symlink(path+"-elsewhere", path))
		}, "is a symbolic link; remove it"},
		{"a link to nothing", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink(path+"-elsewhere", path))
		}, "is a symbolic link; remove it"},
		{"a directory", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Mkdir(path, 0o700))
		}, "is not a file; remove it"},
		{"a pipe, which nobody writes to", func(t *testing.T, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, syscall.Mkfifo(path, 0o600))
		}, "is not a file; remove it"},
		{"nothing", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) }, "has not the 32 bytes of a secret; remove it"},
		{"too little", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 31)) }, "has not the 32 bytes of a secret"},
		{"too much", func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 1<<30)) }, "has not the 32 bytes of a secret"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := runtimedir.Open(filepath.Join(t.TempDir(), "run"))
			require.NoError(t, err)
			_, err = runtimedir.Secret(dir)
			require.NoError(t, err)
			path := filepath.Join(dir, "secret")
			tt.make(t, path)
			secret, err := runtimedir.Secret(dir)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, path)
			require.Empty(t, secret)

			require.NoError(t, os.Remove(path)) // as it says
			secret, err = runtimedir.Secret(dir)
			require.NoError(t, err)
			require.Len(t, secret, 32)
		})
	}
}
