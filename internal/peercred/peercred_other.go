//go:build !linux || unknownpeers

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
