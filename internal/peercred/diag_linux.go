//go:build !unknownpeers

package peercred

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// Socket diagnostics by netlink, see sock_diag(7). Package syscall has only
// the number of the protocol.
const (
	sockDiagByFamily = 20
	diagRequestSize  = 56      // struct inet_diag_req_v2
	diagMessageSize  = 72      // struct inet_diag_msg
	diagAnswerSize   = 1 << 10 // has room for the attributes that come unasked, too
	diagTimeout      = time.Second
)

// diagnose looks one socket up.
func diagnose(local, remote netip.AddrPort) (socket, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return socket{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	defer func() { _ = syscall.Close(fd) }()
	limit := syscall.NsecToTimeval(int64(diagTimeout))
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit); err != nil {
		return socket{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err := syscall.Sendto(fd, diagRequest(local, remote), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return socket{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	answer := make([]byte, diagAnswerSize)
	n, from, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil {
		return socket{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if kernel, ok := from.(*syscall.SockaddrNetlink); !ok || kernel.Pid != 0 {
		return socket{}, fmt.Errorf("%w: an answer that is not the kernel's", ErrUnknown)
	}
	return diagAnswer(answer[:n], remote)
}

func diagRequest(local, remote netip.AddrPort) []byte {
	req := make([]byte, 0, syscall.NLMSG_HDRLEN+diagRequestSize)
	req = binary.NativeEndian.AppendUint32(req, syscall.NLMSG_HDRLEN+diagRequestSize)
	req = binary.NativeEndian.AppendUint16(req, sockDiagByFamily)
	req = binary.NativeEndian.AppendUint16(req, syscall.NLM_F_REQUEST)
	req = binary.NativeEndian.AppendUint64(req, 1) // sequence, and port 0

	family := byte(syscall.AF_INET)
	if local.Addr().Unmap().Is6() {
		family = syscall.AF_INET6
	}
	req = append(req, family, syscall.IPPROTO_TCP, 0, 0)
	req = binary.NativeEndian.AppendUint32(req, ^uint32(0)) // whatever the state
	req = binary.BigEndian.AppendUint16(req, local.Port())
	req = binary.BigEndian.AppendUint16(req, remote.Port())
	req = appendAddr(req, local.Addr())
	req = appendAddr(req, remote.Addr())
	req = binary.NativeEndian.AppendUint32(req, 0)           // whatever the interface
	return binary.NativeEndian.AppendUint64(req, ^uint64(0)) // whatever the cookie
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	var room [16]byte
	copy(room[:], addr.Unmap().AsSlice())
	return append(b, room[:]...)
}

// diagAnswer reads the kernel's answer. Where there is no connection, that is
// the socket which listens.
func diagAnswer(answer []byte, remote netip.AddrPort) (socket, error) {
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil || len(messages) == 0 {
		return socket{}, errors.Join(ErrUnknown, err)
	}
	m := messages[0]
	if m.Header.Type != sockDiagByFamily || len(m.Data) < diagMessageSize {
		return socket{}, ErrGone
	}
	s := socket{
		state:  m.Data[1],
		cookie: binary.NativeEndian.Uint64(m.Data[44:]),
		uid:    binary.NativeEndian.Uint32(m.Data[64:]),
		inode:  uint64(binary.NativeEndian.Uint32(m.Data[68:])),
	}
	if (s.state == stateListen) == remote.IsValid() {
		return socket{}, ErrGone
	}
	return s, nil
}
