package clusterclient

import (
	"fmt"
	"syscall"
)

// maxSocketPath is how long the path of a Unix socket may be, which the system
// keeps with a zero behind it.
const maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1

// atSocket calls use with a path that leads to path and is short enough for a
// socket.
func atSocket(path string, use func(path string) error) error {
	if len(path) <= maxSocketPath {
		return use(path)
	}
	if err := atLongPath(path, use); err != nil {
		return fmt.Errorf("the path %s has %d bytes, that of a Unix socket has %d at most: %w", path, len(path), maxSocketPath, err)
	}
	return nil
}
