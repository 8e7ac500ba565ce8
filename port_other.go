//go:build !linux

package clusterclient

import "net"

// expectToListen has nothing to prepare.
func expectToListen() {}

// freedFirst has no way to change what is closed first.
func freedFirst(lis net.Listener) net.Listener { return lis }
