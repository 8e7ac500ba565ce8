//go:build !unknownpeers

package peercred

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const stranger = 12345

// as runs do in a thread of another user.
func as(t *testing.T, uid int, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			t.Errorf("setresuid: %v", errno)
			return
		}
		do()
	}()
	<-done
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	lis, err := net.Listen(network, address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = lis.Close() })
	return lis
}

func dial(t *testing.T, lis net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial(lis.Addr().Network(), lis.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func accept(t *testing.T, lis net.Listener) net.Conn {
	t.Helper()
	conn, err := lis.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// everywhere runs a test over each kind of connection, and TCP also without
// socket diagnostics.
func everywhere(t *testing.T, test func(t *testing.T, network, address string, of func(net.Conn) (Peer, error))) {
	of := func(c net.Conn) (Peer, error) {
		own, other, err := Of(c)
		require.Equal(t, Self(), own)
		return other, err
	}
	tables := func(c net.Conn) (Peer, error) {
		s, err := readTables(c.RemoteAddr().(*net.TCPAddr).AddrPort(), c.LocalAddr().(*net.TCPAddr).AddrPort())
		return s.owner(err)
	}
	t.Run("tcp4", func(t *testing.T) { test(t, "tcp4", "127.0.0.1:0", of) })
	t.Run("tcp6", func(t *testing.T) { test(t, "tcp6", "[::1]:0", of) })
	t.Run("tables tcp4", func(t *testing.T) { test(t, "tcp4", "127.0.0.1:0", tables) })
	t.Run("tables tcp6", func(t *testing.T) { test(t, "tcp6", "[::1]:0", tables) })
	t.Run("unix", func(t *testing.T) { test(t, "unix", fmt.Sprintf("@peercred-%d-%s", os.Getpid(), t.Name()), of) })
}

func TestBothEnds(t *testing.T) {
	everywhere(t, func(t *testing.T, network, address string, of func(net.Conn) (Peer, error)) {
		lis := listen(t, network, address)
		there := dial(t, lis)
		here := accept(t, lis)
		for _, conn := range []net.Conn{here, there} {
			p, err := of(conn)
			require.NoError(t, err)
			require.Equal(t, os.Geteuid(), p.UID)
			for _, hint := range []int{os.Getpid(), 1, 0, -1, os.Getppid()} {
				got := p.Process(hint)
				require.Equal(t, os.Getpid(), got.PID, "hint %d", hint)
				require.Equal(t, startTime("/proc/self"), got.Started, "hint %d", hint)
				require.Contains(t, got.String(), fmt.Sprintf("pid %d (%s", os.Getpid(), got.Program))
			}
		}
	})
}

func TestOtherUser(t *testing.T) {
	everywhere(t, func(t *testing.T, network, address string, of func(net.Conn) (Peer, error)) {
		lis := listen(t, network, address)
		as(t, stranger, func() { dial(t, lis) })
		p, err := of(accept(t, lis))
		require.NoError(t, err)
		require.Equal(t, stranger, p.UID)
	})
}

// The tables are slow where there are many connections.
func TestDiagnosticsWork(t *testing.T) {
	lis := listen(t, "tcp4", "127.0.0.1:0")
	s, err := diagnose(addrPort(lis.Addr()), netip.AddrPort{})
	if err != nil {
		t.Skipf("no socket diagnostics here: %v", err)
	}
	require.EqualValues(t, stateListen, s.state)
	require.NotZero(t, s.cookie)
	p, err := s.owner(nil)
	require.NoError(t, err)
	require.Equal(t, os.Getpid(), p.Process(os.Getpid()).PID)
}

// A connection is its listener's until it is accepted.
func TestNotAccepted(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::]:0", "unix": "@peercred-waits"}[network]
			lis := listen(t, network, address)
			conn := dial(t, lis)
			_, p, err := Of(conn)
			require.NoError(t, err)
			require.Equal(t, os.Geteuid(), p.UID)
			require.Equal(t, os.Getpid(), p.Process(0).PID)

			var squatter net.Listener
			as(t, stranger, func() { squatter = listen(t, network, strings.Replace(address, "waits", "squats", 1)) })
			conn = dial(t, squatter)
			_, p, err = Of(conn)
			require.NoError(t, err)
			require.Equal(t, stranger, p.UID)
		})
	}
}

// A socket that its process has closed says nothing of who that was: the
// kernel gives it to root.
func TestClosed(t *testing.T) {
	for _, network := range []string{"tcp4", "tcp6"} {
		t.Run(network, func(t *testing.T) {
			lis := listen(t, network, map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"}[network])
			there := dial(t, lis)
			here := accept(t, lis)
			require.NoError(t, there.Close()) // FIN_WAIT_2
			_, p, err := Of(here)
			require.ErrorIs(t, err, ErrGone)
			require.Equal(t, Nobody, p.UID)

			// Nor does whoever listens at the address by now.
			lis2, err := new(net.ListenConfig).Listen(t.Context(), network, there.LocalAddr().String())
			if err == nil {
				defer func() { _ = lis2.Close() }()
				_, p, err = Of(here)
				require.ErrorIs(t, err, ErrGone)
				require.Equal(t, Nobody, p.UID)
			}
			require.NoError(t, here.Close()) // TIME_WAIT
			_, err = ofTCP(addrPort(here.LocalAddr()), addrPort(there.LocalAddr()))
			require.ErrorIs(t, err, ErrGone)
			_, err = readTables(addrPort(there.LocalAddr()), netip.AddrPortFrom(addrPort(here.LocalAddr()).Addr(), 1))
			require.ErrorIs(t, err, ErrGone)
		})
	}
}

func addrPort(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

// Connections over IPv4 from and to sockets for IPv6 are found.
func TestMixedFamilies(t *testing.T) {
	lis := listen(t, "tcp", "[::]:0")
	there, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", addrPort(lis.Addr()).Port()))
	require.NoError(t, err)
	defer func() { _ = there.Close() }()
	_, p, err := Of(there)
	require.NoError(t, err)
	require.Equal(t, os.Geteuid(), p.UID)
	here := accept(t, lis)
	for _, c := range []net.Conn{here, there} {
		_, p, err := Of(c)
		require.NoError(t, err)
		require.Equal(t, os.Geteuid(), p.UID)
		s, err := readTables(addrPort(c.RemoteAddr()), addrPort(c.LocalAddr()))
		require.NoError(t, err)
		require.EqualValues(t, os.Geteuid(), s.uid)
	}
}

func TestListener(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		lis := listen(t, "tcp", address)
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), addrPort(lis.Addr()).Port())
		p, err := Listener(at)
		require.NoError(t, err)
		require.Equal(t, os.Geteuid(), p.UID)
		require.Equal(t, os.Getpid(), p.Process(0).PID)
		s, err := readTables(at, netip.AddrPort{})
		require.NoError(t, err)
		require.Equal(t, p.inode, s.inode)
		require.NoError(t, lis.Close())
		_, err = Listener(at)
		require.ErrorIs(t, err, ErrGone)
	}
}

func TestUnknown(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	_, p, err := Of(a)
	require.ErrorIs(t, err, ErrUnknown)
	require.Equal(t, Nobody, p.UID)
	require.Zero(t, p.Process(os.Getpid()))
	require.Equal(t, "an unknown process", p.Process(1).String())
}

// The name of a process may look like what follows it.
func TestStartTime(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `printf ') R 1 (' >/proc/$$/comm; echo; read -r _`)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	p, ok := processOf(cmd.Process.Pid, 0)
	require.True(t, ok)
	require.Equal(t, ") R 1 (", p.Program)
	require.GreaterOrEqual(t, p.Started, startTime("/proc/self"))
	require.NoError(t, in.Close())
	_ = cmd.Wait()
	require.Zero(t, startTime(fmt.Sprintf("/proc/%d", cmd.Process.Pid)))
}
