//go:build unix

package clusterclient_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// realClient creates a client that the system's sockets join to others.
func realClient(t testing.TB, port int, up *clustertest.Upstream, opts ...clusterclient.Option) *clusterclient.Client {
	t.Helper()
	c, err := clusterclient.Create("test", port, append([]clusterclient.Option{clusterclient.WithUpstream(up.Open)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := processtest.FreePort()
	require.NoError(t, err)
	return port
}

func sockets(t *testing.T, dir string) []string {
	files, err := filepath.Glob(filepath.Join(dir, "*.sock"))
	require.NoError(t, err)
	return files
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "cc")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// connectedTo counts the TCP connections to port; -1 where the system does not
// tell.
func connectedTo(port int) int {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return -1
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		col := strings.Fields(line)
		if strings.HasSuffix(col[2], ":"+strings.ToUpper(strconv.FormatInt(int64(port), 16))) && col[3] == "01" { // TCP_ESTABLISHED
			n++
		}
	}
	return n
}

func TestRoadIsTakenWhereItIs(t *testing.T) {
	dir, port, up := shortDir(t), freePort(t), clustertest.NewUpstream()
	up.Set("k", "v")
	leads := realClient(t, port, up, clusterclient.WithRuntimeDir(dir))
	require.Len(t, sockets(t, dir), 1)
	info, err := os.Lstat(sockets(t, dir)[0])
	require.NoError(t, err)
	require.Equal(t, os.ModeSocket, info.Mode().Type())

	follows := realClient(t, port, up, clusterclient.WithRuntimeDir(dir))
	mustBecome(t, follows, clusterclient.RoleFollower)
	mustYield(t, mustSubscribe(t, follows, "k"), "v")
	require.LessOrEqual(t, connectedTo(port), 0, "TCP connections to the leader")

	elsewhere := realClient(t, port, up, clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir))
	mustYield(t, mustSubscribe(t, elsewhere, "k"), "v")
	require.NotZero(t, connectedTo(port), "TCP connections to the leader")

	require.NoError(t, elsewhere.Close())
	require.NoError(t, leads.Close())
	mustBecome(t, follows, clusterclient.RoleLeader)
	require.Len(t, sockets(t, dir), 1, "the next leader's")
	require.NoError(t, follows.Close())
	require.Empty(t, sockets(t, dir), "sockets that nobody listens on")
}

// A socket left by a process that was killed keeps nobody waiting, and one
// that belongs to somebody else is not removed.
func TestRoadLeftByTheDead(t *testing.T) {
	dir, port, up := shortDir(t), freePort(t), clustertest.NewUpstream()
	up.Set("k", "v")
	leads := realClient(t, port, up, clusterclient.WithRuntimeDir(dir))
	ours := sockets(t, dir)[0]
	leave := func(path string, age time.Duration) {
		_ = os.Remove(path)
		lis, err := net.Listen("unix", path)
		require.NoError(t, err)
		lis.(*net.UnixListener).SetUnlinkOnClose(false)
		require.NoError(t, lis.Close())
		then := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(path, then, then))
	}
	leave(ours, 0)
	follows := realClient(t, port, up, clusterclient.WithRuntimeDir(dir))
	mustYield(t, mustSubscribe(t, follows, "k"), "v")
	require.NotZero(t, connectedTo(port), "TCP connections to the leader")
	require.NoError(t, follows.Close())
	require.NoError(t, leads.Close())
	require.Len(t, sockets(t, dir), 1, "a socket of somebody else")

	leave(filepath.Join(dir, "elsewhere.sock"), time.Hour)
	leave(filepath.Join(dir, fmt.Sprintf(".%d-%s", os.Getpid(), filepath.Base(ours))), 0) // killed while it made one, with this pid
	living, err := net.Listen("unix", filepath.Join(dir, "living.sock"))
	require.NoError(t, err)
	defer func() { _ = living.Close() }()
	file := filepath.Join(dir, "no-socket")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	old := time.Now().Add(-time.Hour)
	for _, path := range []string{living.Addr().String(), file} {
		require.NoError(t, os.Chtimes(path, old, old))
	}
	leads = realClient(t, port, up, clusterclient.WithRuntimeDir(dir))
	require.Equal(t, []string{ours, filepath.Join(dir, "living.sock")}, sockets(t, dir))
	require.NoError(t, leads.Close())
	require.Equal(t, []string{filepath.Join(dir, "living.sock")}, sockets(t, dir))
	require.FileExists(t, file)
}

// Leases do not stay for good of ports that nobody uses any more.
func TestLeasesOfPortsThatAreNotUsed(t *testing.T) {
	dir, up := shortDir(t), clustertest.NewUpstream()
	require.NoError(t, realClient(t, freePort(t), up, clusterclient.WithRuntimeDir(dir)).Close())
	folders := func() []string {
		all, err := filepath.Glob(filepath.Join(dir, "*127.0.0.1-*"))
		require.NoError(t, err)
		return all
	}
	require.Len(t, folders(), 1)
	unused, then := folders()[0], time.Now().Add(-48*time.Hour)
	require.NoError(t, os.Chtimes(unused, then, then))
	require.NoError(t, realClient(t, freePort(t), up, clusterclient.WithRuntimeDir(dir)).Close())
	require.Len(t, folders(), 1)
	require.NotContains(t, folders(), unused)
}

// A directory whose path is too long for a socket is reached another way, where
// the system has one: to serve at, to connect to, and to hand a port over.
func TestRoadToALongPath(t *testing.T) {
	long := filepath.Join(shortDir(t), strings.Repeat("x", 120))
	port, up := freePort(t), clustertest.NewUpstream()
	up.Set("k", "v")
	leads := realClient(t, port, up, clusterclient.WithRuntimeDir(long))
	follows := realClient(t, port, up, clusterclient.WithRuntimeDir(long))
	mustYield(t, mustSubscribe(t, follows, "k"), "v")
	if runtime.GOOS != "linux" {
		require.Contains(t, leads.Status().SocketTrouble, "choose a shorter WithRuntimeDir")
		return
	}
	require.Empty(t, leads.Status().SocketTrouble)
	socket := sockets(t, long)
	require.Len(t, socket, 1)
	before, err := os.Lstat(socket[0])
	require.NoError(t, err)
	require.Zero(t, connectedTo(port), "TCP connections to the leader")

	require.NoError(t, leads.Close())
	mustBecome(t, follows, clusterclient.RoleLeader)
	after, err := os.Lstat(socket[0])
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "the port was not handed over")
	require.Empty(t, follows.Status().SocketTrouble)
	require.NoError(t, follows.Close())
	require.Empty(t, sockets(t, long), "sockets that nobody listens on")
}

// Where there can be no socket the port has to do, and whoever looks is told so.
func TestRoadImpossible(t *testing.T) {
	dir, port, up := shortDir(t), freePort(t), clustertest.NewUpstream()
	up.Set("k", "v")
	at := clusterclient.WithRuntimeDir(dir)
	first := realClient(t, port, up, at)
	file := filepath.Base(sockets(t, dir)[0])
	require.NoError(t, first.Close())
	inTheWay := filepath.Join(dir, fmt.Sprintf(".%d-%s", os.Getpid(), file))
	require.NoError(t, os.MkdirAll(filepath.Join(inTheWay, "full"), 0o700))

	book := new(logbook)
	leads, follows := realClient(t, port, up, at, book.option()), realClient(t, port, up, at)
	mustYield(t, mustSubscribe(t, follows, "k"), "v")
	require.Contains(t, leads.Status().SocketTrouble, inTheWay)
	require.Contains(t, leads.Status().SocketTrouble, "address already in use")
	require.Empty(t, follows.Status().SocketTrouble, "whoever follows does not know")
	require.Len(t, book.with("[WARN]", "no Unix socket beside the port", inTheWay), 1)
	name, err := follows.Inspect(t.Context(), inspect.Query{})
	require.NoError(t, err)
	require.Equal(t, leads.Status().SocketTrouble, name.Leadership.SocketTrouble)

	require.NoError(t, os.RemoveAll(inTheWay)) // the next leader has one again, although it is handed the port alone
	require.NoError(t, leads.Resign(t.Context()))
	require.Equal(t, clusterclient.RoleLeader, follows.Role())
	require.Len(t, sockets(t, dir), 1)
	require.Empty(t, follows.Status().SocketTrouble)
	require.NoError(t, follows.Resign(t.Context()))
	require.Equal(t, clusterclient.RoleLeader, leads.Role())
	require.Len(t, sockets(t, dir), 1)
	require.Empty(t, leads.Status().SocketTrouble, "what was in the way in its first term")
}

func TestProcessRoadTakeover(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "v")
	all := w.Start(3)
	leader, term := w.Settled(0, all)
	require.LessOrEqual(t, connectedTo(w.Port), 0, "TCP connections to the leader")
	for len(all) > 1 {
		leader.Kill()
		all = processtest.Without(all, leader)
		leader, term = w.Settled(term, all)
		require.Equal(t, "v", leader.Must(command{Op: "get", Key: "k"}).Data)
	}
	require.LessOrEqual(t, connectedTo(w.Port), 0, "TCP connections to the leader")
}

// A certificate is for the address, whichever road is taken there.
func TestCertificateIsForTheAddress(t *testing.T) {
	ours := processtest.NewAuthority(t)
	config := ours.Config(ours, "127.0.0.1")
	config.ServerName = ""
	for name, dir := range map[string]string{"port": clusterclient.NoRuntimeDir, "socket": shortDir(t)} {
		t.Run(name, func(t *testing.T) {
			port, up := freePort(t), clustertest.NewUpstream()
			opts := []clusterclient.Option{clusterclient.WithTLS(config), clusterclient.WithRuntimeDir(dir)}
			realClient(t, port, up, opts...)
			mustBecome(t, realClient(t, port, up, opts...), clusterclient.RoleFollower)
		})
	}
}
