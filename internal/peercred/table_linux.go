//go:build !unknownpeers

package peercred

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// readTables is lookup where the kernel has no socket diagnostics, or does not
// let this process have them. A socket for IPv6 can be connected over IPv4.
func readTables(local, remote netip.AddrPort) (socket, error) {
	var failed error
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(path)
		if err != nil {
			failed = fmt.Errorf("%w: %w", ErrUnknown, err)
			continue
		}
		s, ok := readTable(f, local, remote)
		_ = f.Close()
		if ok {
			return s, nil
		}
	}
	if failed != nil {
		return socket{}, failed
	}
	return socket{}, ErrGone
}

// readTable finds a socket in a table of proc_net_tcp(5).
func readTable(r io.Reader, local, remote netip.AddrPort) (socket, bool) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		col := strings.Fields(lines.Text())
		if len(col) < 10 {
			continue
		}
		state, err := strconv.ParseUint(col[3], 16, 8)
		if err != nil || (state == stateListen) == remote.IsValid() {
			continue
		}
		if !names(col[1], local, state == stateListen) || remote.IsValid() && !names(col[2], remote, false) {
			continue
		}
		uid, err1 := strconv.ParseUint(col[7], 10, 32)
		inode, err2 := strconv.ParseUint(col[9], 10, 64)
		if err1 == nil && err2 == nil {
			return socket{state: byte(state), uid: uint32(uid), inode: inode}, true
		}
	}
	return socket{}, false
}

// names reports whether text, as in "0100007F:1F90", is address, or, for a
// socket that listens, all addresses of the host.
func names(text string, address netip.AddrPort, listens bool) bool {
	got, ok := parseAddrPort(text)
	if !ok || got.Port() != address.Port() {
		return false
	}
	return got.Addr() == address.Addr().Unmap() || listens && got.Addr().IsUnspecified()
}

func parseAddrPort(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 { // words in the order of the host's bytes
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), ok
}
