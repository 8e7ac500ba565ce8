//go:build linux && unknownpeers

package clusterclient_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// withoutSocket returns a runtime directory in which something is in the place of the
// socket, so that everybody has to take the port.
func withoutSocket(t *testing.T, w *processtest.World) string {
	t.Helper()
	dir := filepath.Join(w.RuntimeDir, "run")
	network, err := os.Readlink("/proc/self/ns/net") // net:[number]
	require.NoError(t, err)
	file := fmt.Sprintf("%s-127.0.0.1-%d.sock", strings.Trim(network, "net:[]"), w.Port)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, file, "full"), 0o700))
	return dir
}

// Where the system does not tell who is at the other end, processes join that
// can read one file, and no others do.
func TestProcessUnknownPeers(t *testing.T) {
	w := processtest.New(t)
	w.Centre.Set("k", "v")
	create := w.Creation()
	create.RuntimeDir = withoutSocket(t, w)
	leads, follows := w.Spawn(), w.Spawn()
	leads.Must(create)
	inPlace := sockets(t, create.RuntimeDir)
	require.Len(t, inPlace, 1)
	require.DirExists(t, inPlace[0])
	follows.Must(create)
	require.Equal(t, "v", follows.Must(command{Op: "get", Key: "k"}).Data)
	require.Equal(t, follows.PID, follows.Must(command{Op: "invoke", Method: "quick"}).Result.Caller)
	info, err := os.Lstat(filepath.Join(create.RuntimeDir, "secret"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())

	for _, dir := range []string{filepath.Join(t.TempDir(), "own"), clusterclient.NoRuntimeDir} {
		other := create
		other.RuntimeDir = dir
		e := w.Spawn().Do(other)
		require.Contains(t, e.Is, "refused", e.Err)
		require.Contains(t, e.Err, "give all processes the same runtime directory or the same WithSecret")
	}
	leads.Kill()
	w.WaitFor("the follower leads", func() bool { return follows.Leads() })
	late := w.Spawn()
	late.Must(create)
	require.Equal(t, "v", late.Must(command{Op: "get", Key: "k"}).Data)
}

// Another user cannot read the file, whatever directory he names, and one who
// holds the port is not believed.
func TestProcessUnknownPeersOfAnotherUser(t *testing.T) {
	needsRoot(t)
	w := processtest.New(t)
	create := w.Creation()
	create.RuntimeDir = withoutSocket(t, w)
	w.Spawn().Must(create)
	intruder := w.SpawnUser(stranger)
	theirs := create
	theirs.RuntimeDir = filepath.Join(intruderDir(t), "theirs")
	for _, try := range []command{create, theirs} {
		e := intruder.Do(try)
		require.Contains(t, e.Is, "refused", e.Err)
	}
	e := intruder.Do(command{Op: "read", Data: filepath.Join(create.RuntimeDir, "secret")})
	require.Contains(t, e.Err, "permi")

	squatted := processtest.New(t)
	squat := squatted.Creation()
	squat.RuntimeDir = theirs.RuntimeDir
	squatted.SpawnUser(stranger).Must(squat)
	ours := squatted.Creation()
	ours.RuntimeDir = create.RuntimeDir
	e = squatted.Spawn().Do(ours)
	require.Contains(t, e.Is, "refused", e.Err)
	require.Contains(t, e.Err, "does not know the secret in this user's runtime directory")
}

// intruderDir is one where anybody can make a directory of his own.
func intruderDir(t *testing.T) string {
	dir := shortDir(t)
	require.NoError(t, os.Chmod(dir, 0o777|os.ModeSticky))
	return dir
}
