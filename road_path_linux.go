package clusterclient

import (
	"fmt"
	"os"
	"path/filepath"
)

// atLongPath goes by way of a descriptor of the directory, which has a short
// name as long as it is open.
func atLongPath(path string, use func(path string) error) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}
