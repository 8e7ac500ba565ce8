package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// another is a user who is in nobody's way.
const another = 12345

// as makes the program that of another user, who can run it, and whose
// runtime directory is their own.
func (tl *tool) as(t *testing.T, uid int) *tool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can start processes of another user")
	}
	base, err := os.MkdirTemp("", "cu") // not below what only root can enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	require.NoError(t, os.Chmod(base, 0o755)) //nolint:gosec // that user has to get there
	theirs := &tool{path: filepath.Join(base, "clusterctl"), dir: filepath.Join(base, "run"), port: tl.port}
	require.NoError(t, exec.CommandContext(t.Context(), "cp", tl.path, theirs.path).Run())
	require.NoError(t, os.Mkdir(theirs.dir, 0o700))
	require.NoError(t, os.Chown(theirs.dir, uid, uid))
	theirs.user = uid
	return theirs
}

// Another user's tool is let in as little as any other process of theirs, and
// says so.
func TestToolOfAnotherUser(t *testing.T) {
	tl, w := begin(t)
	theirs := tl.as(t, another)
	all := w.Start(2)
	leads, term := w.Settled(0, all)
	w.Centre.Set("k", "secret of ours")
	port := strconv.Itoa(w.Port)
	for _, args := range [][]string{
		{"status"},
		{"keys"},
		{"followers"},
		{"top", "-n", "1"},
		{"get", "k"},
		{"watch", "k", "-n", "1"},
		{"explain", "k"},
		{"invoke", "once", `"x"`},
		{"publish", "k", "theirs"},
		{"resign", "-yes"},
		{"depose", "-yes"},
	} {
		r := theirs.must(t, exitNobody, append(args, "-port", port)...)
		require.Contains(t, r.errs, "uid", "%v", args)
		require.NotContains(t, r.out+r.errs, "secret of ours")
	}
	mustFind(t, theirs, w, exitUnwell, "other-user", "other-user", leads)

	// Nor does a leader's being stopped change that.
	stop(t, leads)
	theirs.must(t, exitNobody, "depose", "-yes", "-port", port, "-name", processtest.Name)
	leads.Signal(syscall.SIGCONT)
	again, still := w.Settled(0, all)
	require.Equal(t, leads, again)
	require.Equal(t, term, still)
}

// Whoever may join may look, and get values, but not change who leads.
func TestToolOfAnotherUserThatMayJoin(t *testing.T) {
	tl, w := begin(t)
	theirs := tl.as(t, another)
	create := w.Creation()
	create.Secret = someSecret
	leads, follows := w.Spawn(), w.Spawn()
	leads.Must(create)
	follows.Must(create)
	w.Centre.Set("k", "v")
	file := filepath.Join(filepath.Dir(theirs.path), "secret")
	require.NoError(t, os.WriteFile(file, []byte(create.Secret+"\n"), 0o600))
	require.NoError(t, os.Chown(file, another, another))
	args := func(words ...string) []string {
		return append(words, "-port", strconv.Itoa(w.Port), "-secret-file", file)
	}
	require.Equal(t, "v\n", theirs.must(t, exitOK, args("get", "k")...).out)
	require.Contains(t, theirs.must(t, exitOK, args("status")...).out, strconv.Itoa(leads.PID))
	for _, command := range []string{"resign", "depose"} {
		require.Contains(t, theirs.must(t, exitFailed, args(command, "-yes")...).errs, "only uid 0 may change who leads, not uid 12345")
	}
	require.True(t, processtest.Read(w, leads.Leads))
}
