package runtimedir

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	secretName = "secret"
	secretSize = 32
)

// Secret returns what the processes of one user know and nobody else does: the
// content of a file in dir, which [Open] has returned. Whoever asks first
// creates it.
func Secret(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretName)
	secret, err := readSecret(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := createSecret(dir, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	return readSecret(path)
}

func readSecret(path string) ([]byte, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	defer func() { _ = f.Close() }()
	var secret [secretSize + 1]byte
	n, err := io.ReadFull(f, secret[:])
	switch {
	case n == secretSize:
		return secret[:n], nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	return nil, fmt.Errorf("runtime directory: %s has not the %d bytes of a secret; remove it, and a new one is made", path, secretSize)
}

// refuseFile says what is wrong with a file that is to be believed.
func refuseFile(path, owner string, mode fs.FileMode, what string) error {
	return fmt.Errorf("%s (owner %s, mode %04o) %s; remove it, and a new one is made", path, owner, mode.Perm(), what)
}

// createSecret puts the file in place complete, and not over another one.
func createSecret(dir, path string) error {
	f, err := os.CreateTemp(dir, "."+secretName+"-*") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	_, err = f.Write(secret)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
