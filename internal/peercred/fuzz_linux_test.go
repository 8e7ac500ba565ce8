//go:build !unknownpeers

package peercred

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// diagAnswerOf is what the kernel answers.
func diagAnswerOf(s socket) []byte {
	data := make([]byte, diagMessageSize)
	data[0], data[1] = syscall.AF_INET, s.state
	binary.NativeEndian.PutUint64(data[44:], s.cookie)
	binary.NativeEndian.PutUint32(data[64:], s.uid)
	binary.NativeEndian.PutUint32(data[68:], uint32(s.inode))
	head := binary.NativeEndian.AppendUint32(nil, uint32(syscall.NLMSG_HDRLEN+len(data)))
	head = binary.NativeEndian.AppendUint16(head, sockDiagByFamily)
	head = binary.NativeEndian.AppendUint16(head, 0)
	return append(binary.NativeEndian.AppendUint64(head, 1), data...)
}

// FuzzDiagAnswer reads what netlink may answer. A connection and a socket that
// listens must not pass for one another, whatever comes.
func FuzzDiagAnswer(f *testing.F) {
	f.Add([]byte{}, true)
	f.Add(diagAnswerOf(socket{state: stateEstablished, uid: 1000, inode: 5555, cookie: 1 << 40}), true)
	f.Add(diagAnswerOf(socket{state: stateListen, uid: 1000, inode: 5555}), false)
	f.Add(diagAnswerOf(socket{state: stateListen})[:80], false)
	f.Add(append([]byte{36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 254, 255, 255, 255}, make([]byte, 16)...), true) // ENOENT
	f.Fuzz(func(t *testing.T, answer []byte, connected bool) {
		remote := netip.AddrPort{}
		if connected {
			remote = netip.MustParseAddrPort("127.0.0.1:1")
		}
		s, err := diagAnswer(answer, remote)
		if err != nil {
			require.Zero(t, s)
			return
		}
		require.Equal(t, connected, s.state != stateListen, "state %d", s.state)
		again, err := diagAnswer(diagAnswerOf(s), remote)
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

// FuzzTable reads what /proc/net/tcp may hold.
func FuzzTable(f *testing.F) {
	f.Add("   0: 0100007F:4571 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5555 1", "127.0.0.1:17777", "")
	f.Add("   1: 0100007F:4571 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 5556 1", "127.0.0.1:17777", "127.0.0.1:50000")
	f.Add("   1: 00000000000000000000000001000000:4571 x 01 a b c d e f g", "[::1]:17777", "[::1]:1")
	f.Add("   2: 0000000000000000FFFF00000100007F:4571 0000000000000000FFFF00000100007F:C350 01 0 0 0 7 0 8 1\n\n", "127.0.0.1:17777", "127.0.0.1:50000")
	f.Fuzz(func(t *testing.T, table, local, remote string) {
		l, _ := netip.ParseAddrPort(local)
		r, _ := netip.ParseAddrPort(remote)
		s, ok := readTable(strings.NewReader(table), l, r)
		if !ok {
			require.Zero(t, s)
			return
		}
		require.Equal(t, r.IsValid(), s.state != stateListen, "state %d", s.state)
		found := false
		for line := range strings.Lines(table) { // whoever it is of stands in one line
			found = found || strings.Contains(line, fmt.Sprint(s.uid)) && strings.Contains(line, fmt.Sprint(s.inode))
		}
		require.True(t, found, "%+v is not in %q", s, table)
	})
}

// FuzzStat reads what /proc/PID/stat may hold: a process calls itself what it
// wants, and must not choose when it was started by that.
func FuzzStat(f *testing.F) {
	f.Add("x", uint64(77))
	f.Add(") R 1 (", uint64(0))
	f.Add("a) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 99 1 (b", uint64(1<<63))
	f.Fuzz(func(t *testing.T, name string, started uint64) {
		text := fmt.Sprintf("12 (%s) S 1 12 12 0 -1 4194304 0 0 0 0 1 1 0 0 20 0 1 0 %d 4096 100", name, started)
		require.Equal(t, started, startIn([]byte(text)), text)
		_ = startIn([]byte(name))
	})
}

// FuzzUserMap reads what /proc/self/uid_map may hold.
func FuzzUserMap(f *testing.F) {
	f.Add([]byte("         0          0 4294967295\n"))
	f.Add([]byte("         0     100000      65536\n"))
	f.Add([]byte("00 4294967295"))
	f.Fuzz(func(t *testing.T, mapped []byte) {
		var from, to, count uint64
		n, _ := fmt.Sscan(string(mapped), &from, &to, &count)
		if mapsAll(mapped) && (n != 3 || from != 0 || to != 0 || count != 1<<32-1) {
			t.Errorf("%q is taken for a map of all", mapped)
		}
	})
}
