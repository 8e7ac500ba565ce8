//go:build !unknownpeers

package peercred

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ofUnix asks the socket itself: the kernel has noted who connected, or who
// listened.
func ofUnix(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{UID: Nobody}, fmt.Errorf("%w: %w", ErrGone, err)
	}
	var cred *syscall.Ucred
	var optErr error
	err = raw.Control(func(fd uintptr) {
		cred, optErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	switch {
	case err != nil:
		return Peer{UID: Nobody}, fmt.Errorf("%w: %w", ErrGone, err)
	case optErr != nil:
		return Peer{UID: Nobody}, fmt.Errorf("%w: %w", ErrUnknown, optErr)
	case foreign(cred.Uid):
		return Peer{UID: Nobody}, ErrUnknown
	}
	return Peer{UID: int(cred.Uid), PID: int(cred.Pid), told: true}, nil
}

// ofTCP looks the other end's socket up in the kernel's tables.
//
// A connection that waits to be accepted has no owner there yet. It belongs to
// whoever listens, which is asked next; then the connection must still be
// there and still wait, since it ends with its listener, and only so can what
// was asked have been that one.
func ofTCP(here, there netip.AddrPort) (Peer, error) {
	const attempts = 3
	for range attempts {
		s, err := lookup(there, here)
		if err != nil || s.inode != 0 {
			return s.owner(err)
		}
		if !s.waits() {
			return s.owner(ErrGone)
		}
		lis, err := lookup(there, netip.AddrPort{})
		if err != nil {
			continue
		}
		if again, err := lookup(there, here); err == nil && again.inode == 0 && again.cookie == s.cookie && again.state == s.state {
			return lis.owner(nil)
		}
	}
	return Peer{UID: Nobody}, ErrGone
}

// Listener returns who listens on an address.
func Listener(address netip.AddrPort) (Peer, error) {
	s, err := lookup(address, netip.AddrPort{})
	return s.owner(err)
}

// A socket is a TCP socket of this network namespace.
type socket struct {
	state  byte
	uid    uint32
	inode  uint64 // 0 while no process has it
	cookie uint64 // unique to the socket; 0 when not known
}

// States of a socket, see tcp_states.h.
const (
	stateEstablished = 1
	stateSynRecv     = 3
	stateListen      = 10
	stateNewSynRecv  = 12
)

// waits reports whether a socket without a process waits to be accepted. In
// any other state a process had it and has closed it.
func (s socket) waits() bool {
	return s.state == stateEstablished || s.state == stateSynRecv || s.state == stateNewSynRecv
}

func (s socket) owner(err error) (Peer, error) {
	switch {
	case err != nil:
		return Peer{UID: Nobody}, err
	case s.inode == 0:
		return Peer{UID: Nobody}, ErrGone
	case foreign(s.uid):
		return Peer{UID: Nobody}, ErrUnknown
	}
	return Peer{UID: int(s.uid), told: true, inode: s.inode}, nil
}

// lookup finds the socket that is bound to local and connected to remote, or
// that listens if remote is the zero AddrPort.
func lookup(local, remote netip.AddrPort) (socket, error) {
	s, err := diagnose(local, remote)
	if err == nil || hasDiagnostics() {
		return s, err
	}
	return readTables(local, remote)
}

// hasDiagnostics reports whether the kernel has socket diagnostics and lets
// this process have them. Its answer if not is the same as that for a socket
// which is not there, so it is asked, once, for one that is.
var hasDiagnostics = sync.OnceValue(func() bool {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return false
	}
	defer func() { _ = lis.Close() }()
	_, err = diagnose(lis.Addr().(*net.TCPAddr).AddrPort(), netip.AddrPort{})
	return err == nil
})

// foreign reports whether uid stands for any user that has no number in this
// process's user namespace.
func foreign(uid uint32) bool {
	if string(bytes.TrimSpace(smallFile("/proc/sys/kernel/overflowuid"))) != strconv.FormatUint(uint64(uid), 10) {
		return false
	}
	mapped, err := os.ReadFile("/proc/self/uid_map")
	return err != nil || !mapsAll(mapped)
}

// mapsAll reports whether a map of user_namespaces(7) leaves every uid as it
// is.
func mapsAll(mapped []byte) bool {
	return slices.Equal(strings.Fields(string(mapped)), []string{"0", "0", "4294967295"})
}
