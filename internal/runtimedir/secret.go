package runtimedir

import (
	"crypto/rand"
	"errors"
	"fmt"
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
	secret, err := os.ReadFile(path)
	if err == nil && len(secret) != secretSize {
		err = fmt.Errorf("%s has %d bytes instead of %d; remove it", path, len(secret), secretSize)
	}
	if err != nil {
		return nil, fmt.Errorf("runtime directory: %w", err)
	}
	return secret, nil
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
