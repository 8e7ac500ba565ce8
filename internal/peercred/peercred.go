// Package peercred tells who is at the other end of a connection within one
// host: which user, and which process. It asks the operating system, not the
// other end.
//
// With the build tag unknownpeers the system tells nothing on Linux either, as
// it does elsewhere. That is for tests of what is done then.
package peercred

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// Nobody is the UID of a peer whose user is not known.
const Nobody = -1

// A Peer is who opened a socket.
type Peer struct {
	// UID is the effective user at that time, as seen from this process's
	// user namespace.
	UID int

	// PID is 0 when the system does not tell it along with the user; see
	// [Peer.Process].
	PID int

	told  bool   // by the system
	inode uint64 // of a TCP socket
}

// Told reports whether the system has told who it is, though perhaps not the
// process.
func (p Peer) Told() bool { return p.told }

// Self is this process.
func Self() Peer { return Simulate(os.Geteuid(), os.Getpid()) }

// Simulate returns a peer of whom is told what the arguments say.
func Simulate(uid, pid int) Peer { return Peer{UID: uid, PID: pid, told: true} }

// A Process is one that holds a socket. The zero Process is an unknown one.
type Process struct {
	PID int

	// Started is when it was started, in ticks since the host was. It tells a
	// process from a later one with the same PID.
	Started uint64

	Program string // its short name, which it may change
}

// String names the process for people.
func (p Process) String() string {
	switch {
	case p.PID == 0:
		return "an unknown process"
	case p.Program == "":
		return fmt.Sprintf("pid %d", p.PID)
	}
	return fmt.Sprintf("pid %d (%s)", p.PID, p.Program)
}

var (
	// ErrUnknown means that the system does not tell.
	ErrUnknown = errors.New("the system does not tell who is at the other end")

	// ErrGone means that there is nobody any more.
	ErrGone = errors.New("the other end is closed")
)

// A Simulated connection stands for one between two processes, of which it
// knows who they are.
type Simulated interface {
	Ends() (own, other Peer)
}

// Of returns who is at either end of a connection: own is this process, as it
// appears there. What it says of the other end is true for as long as the
// connection lasts. It fails with an error that is [ErrUnknown] or [ErrGone].
func Of(conn net.Conn) (own, other Peer, err error) {
	switch c := conn.(type) {
	case Simulated:
		own, other = c.Ends()
		return own, other, nil
	case *net.UnixConn:
		other, err = ofUnix(c)
	case *net.TCPConn:
		other, err = ofTCP(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort())
	default:
		other, err = Peer{UID: Nobody}, fmt.Errorf("%w: %T", ErrUnknown, conn)
	}
	return Self(), other, err
}
