//go:build !linux

package clusterclient

import "errors"

// atLongPath fails: no system but Linux has another name for a directory.
func atLongPath(string, func(path string) error) error {
	return errors.New("choose a shorter WithRuntimeDir")
}
