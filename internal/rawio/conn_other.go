//go:build !linux || race

package rawio

import "net"

// Wrap returns conn. On other systems reading and writing is left to package
// net; and so it is where the race detector looks for what a socket orders.
func Wrap(conn net.Conn) net.Conn { return conn }
