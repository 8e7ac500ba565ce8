//go:build !linux

package peercred

import (
	"net"
	"net/netip"
)

func ofUnix(*net.UnixConn) (Peer, error) { return Peer{UID: Nobody}, ErrUnknown }

func ofTCP(_, _ netip.AddrPort) (Peer, error) { return Peer{UID: Nobody}, ErrUnknown }

// Listener fails with [ErrUnknown]: there is no portable way to ask.
func Listener(netip.AddrPort) (Peer, error) { return Peer{UID: Nobody}, ErrUnknown }

// Process knows no process: there is no portable way to ask.
func (p Peer) Process(int) Process { return Process{PID: p.PID} }

// ProcessIf knows the process only of a peer that was told with it.
func (p Peer) ProcessIf(int) (Process, bool) { return Process{PID: p.PID}, p.PID != 0 }
