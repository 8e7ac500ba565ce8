//go:build linux

package clusterclient_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// needsRoot skips a test that starts processes of another user.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start processes of another user")
	}
}

func TestProcessAnotherUserCannotJoin(t *testing.T) {
	needsRoot(t)
	w := processtest.New(t)
	w.Centre.Set("k", "v")
	all := w.Start(2)
	leads, term := w.Settled(0, all)

	intruder := w.SpawnUser(stranger)
	for _, peers := range [][]int{nil, {0}} { // one that believes root, too
		create := w.Creation()
		create.Peers = peers
		e := intruder.Do(create)
		require.Contains(t, e.Is, "refused", e.Err)
		require.Contains(t, e.Err, "WithPeers(0, 12345)")
		require.NotContains(t, e.Err, "\n")
	}
	again, still := w.Settled(0, all)
	require.Equal(t, leads, again)
	require.Equal(t, term, still)
	require.Equal(t, "v", processtest.Without(all, leads)[0].Must(command{Op: "get", Key: "k"}).Data)
}

func TestProcessSquatterIsNotBelieved(t *testing.T) {
	needsRoot(t)
	for _, kind := range []string{"silent", "http", "a cluster"} {
		t.Run(kind, func(t *testing.T) {
			w := processtest.New(t)
			squats := w.SpawnUser(stranger)
			if kind == "a cluster" {
				create := w.Creation()
				create.RuntimeDir = clusterclient.NoRuntimeDir
				squats.Must(create)
			} else {
				squats.Must(command{Op: "listen", Port: w.Port, Tag: "l", Data: kind})
			}
			e := w.Spawn().Do(w.Creation())
			require.Contains(t, e.Is, "refused", e.Err)
			require.Contains(t, e.Err, "uid 12345 is not uid 0")
		})
	}
}

func TestProcessOtherUsersThatMay(t *testing.T) {
	needsRoot(t)
	for name, allow := range map[string]command{
		"named":  {Peers: []int{0, stranger}},
		"secret": {Secret: "correct horse battery staple"},
	} {
		t.Run(name, func(t *testing.T) {
			w := processtest.New(t)
			w.Centre.Set("k", "v")
			create := w.Creation()
			create.Peers, create.Secret = allow.Peers, allow.Secret
			leads, follows := w.Spawn(), w.SpawnUser(stranger)
			leads.Must(create)
			create.RuntimeDir = clusterclient.NoRuntimeDir
			follows.Must(create)
			require.Equal(t, "v", follows.Must(command{Op: "get", Key: "k"}).Data)
			caller := follows.Must(command{Op: "invoke", Method: "quick"}).Result.Caller
			if _, err := os.Stat("/proc/self/fd"); err == nil {
				require.Equal(t, follows.PID, caller)
			}
			leads.Kill()
			w.WaitFor("the other user's process leads", func() bool { return follows.Leads() })
		})
	}
}

// The runtime directory is of no use to anybody else, and one that somebody
// else has made, or a link that was put there, is of no use to us.
func TestProcessRuntimeDirOfAnotherUser(t *testing.T) {
	needsRoot(t)
	base := shortDir(t)
	require.NoError(t, os.Chmod(base, 0o777|os.ModeSticky))
	theirs, link, ours := filepath.Join(base, "theirs"), filepath.Join(base, "link"), filepath.Join(base, "ours")
	require.NoError(t, os.Mkdir(theirs, 0o700))
	require.NoError(t, os.Chown(theirs, stranger, stranger))
	require.NoError(t, os.Symlink(theirs, link))
	require.NoError(t, os.Lchown(link, stranger, stranger))

	for _, dir := range []string{theirs, link} {
		w := processtest.New(t)
		w.Centre.Set("k", "v")
		create := w.Creation()
		create.RuntimeDir = dir
		leads, follows := w.Spawn(), w.Spawn()
		leads.Must(create)
		follows.Must(create)
		require.Equal(t, "v", follows.Must(command{Op: "get", Key: "k"}).Data)
		files, err := os.ReadDir(theirs)
		require.NoError(t, err)
		require.Empty(t, files, "what was left in a directory of somebody else")
	}

	w := processtest.New(t)
	create := w.Creation()
	create.RuntimeDir = ours
	w.Spawn().Must(create)
	require.NotEmpty(t, sockets(t, ours))
	intruder := w.SpawnUser(stranger)
	for _, op := range []string{"read", "replace"} {
		e := intruder.Do(command{Op: op, Data: ours})
		require.Contains(t, e.Err, "permitted", op)
	}
}

// Each process that is refused is logged, once, and told from others of its
// user.
func TestProcessRefusedAreToldApart(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("the system does not tell which process has a socket")
	}
	w := processtest.New(t)
	book := new(logbook)
	leads := realClient(t, w.Port, clustertest.NewUpstream(), clusterclient.WithSecret(someSecret),
		clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir), book.option())
	create := w.Creation()
	create.Policy = clusterclient.FollowerOnly // and no secret
	tries := 0
	for range 2 {
		c := w.Spawn()
		pid := fmt.Sprint("pid=", c.PID)
		for {
			e := c.Do(create)
			require.Contains(t, e.Is, "refused", e.Err)
			require.Contains(t, e.Err, fmt.Sprintf("held by pid %d", os.Getpid()))
			tries++
			require.Less(t, tries, 1000, "not found out: %q", book.with("refused"))
			if len(book.with(pid)) > 0 { // not all are looked for
				break
			}
		}
		require.Contains(t, c.Do(create).Is, "refused")
		tries++
		require.Len(t, book.with(pid), 1)
	}
	require.LessOrEqual(t, len(book.with("peer refused")), 3, "one line is for those of which it is not known who they are")
	require.EqualValues(t, tries, leads.Status().Refused)
}
