package main

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// subscribed waits until every process has taken the value.
func subscribed(w *processtest.World, all []*processtest.Child, key, data string) {
	for _, c := range all {
		c.Must(processtest.Command{Op: "subscribe", Key: key, Tag: "s"})
	}
	w.Yielded(all, "s", data)
	w.ConfirmedIn(all, 1)
}

func TestTool(t *testing.T) {
	tl, w := begin(t)
	all := w.Start(3)
	leads, _ := w.Settled(0, all)
	all = append([]*processtest.Child{leads}, processtest.Without(all, leads)...)
	w.Centre.Set("app/limit", "42")
	subscribed(w, all, "app/limit", "42")

	t.Run("status", func(t *testing.T) {
		golden(t, w, "status.txt", tl.must(t, exitOK, "status").out, all...)
		r := decode[statusReport](t, tl, exitOK, "status")
		require.Len(t, r.Clusters, 1, "the one cluster is found without -port")
		elsewhere := *tl
		elsewhere.port = 1
		require.Len(t, decode[statusReport](t, &elsewhere, exitOK, "status").Clusters, 1, "on a port that is not the default one, too")
		require.Equal(t, leads.PID, r.Clusters[0].Names[0].Leader.PID)
	})
	t.Run("keys", func(t *testing.T) {
		golden(t, w, "keys.txt", tl.must(t, exitOK, "keys").out, all...)
		require.Equal(t, "app/limit", decode[keysReport](t, tl, exitOK, "keys").Keys[0].Key.Key)
	})
	t.Run("get", func(t *testing.T) {
		require.Equal(t, "42\n", tl.must(t, exitOK, "get", "app/limit").out)
		require.Equal(t, "42", *decode[keyValue](t, tl, exitOK, "get", "app/limit").Text)
		require.True(t, decode[keyValue](t, tl, exitMissing, "get", "none").Deleted)
		require.Contains(t, tl.must(t, exitMissing, "get", "none").errs, "does not exist")
	})
	t.Run("publish", func(t *testing.T) {
		require.Empty(t, tl.must(t, exitOK, "publish", "app/other", "{}").out)
		require.Equal(t, "{}\n", tl.must(t, exitOK, "get", "app/other").out)
		require.True(t, decode[publishReport](t, tl, exitOK, "publish", "app/other", "x").Published)
	})
	t.Run("watch", func(t *testing.T) {
		golden(t, w, "watch.txt", strings.TrimLeft(tl.must(t, exitOK, "watch", "app/limit", "-n", "1").out, "0123456789:."), all...)
		require.Equal(t, inspect.Fresh, decode[keyValue](t, tl, exitOK, "watch", "app/limit", "-n", "1").State)
	})
	t.Run("explain", func(t *testing.T) {
		e := decode[inspect.Explanation](t, tl, exitOK, "explain", "app/limit")
		require.Len(t, e.Subscribers, 3)
		require.Equal(t, inspect.Unwatched, decode[inspect.Explanation](t, tl, exitMissing, "explain", "never asked for").Watch.State)
		golden(t, w, "explain.txt", tl.must(t, exitOK, "explain", "app/limit").out, inOrder(t, all, e.Subscribers, func(s inspect.Subscriber) int { return s.PID })...)
	})
	t.Run("followers", func(t *testing.T) {
		listed := decode[followersReport](t, tl, exitOK, "followers").Followers
		golden(t, w, "followers.txt", tl.must(t, exitOK, "followers").out, inOrder(t, all, listed, func(f namedFollower) int { return f.PID })...)
	})
	t.Run("invoke", func(t *testing.T) {
		require.Contains(t, tl.must(t, exitOK, "invoke", "once", `"call"`).out, strconv.Itoa(leads.PID))
		require.Regexp(t, `no method "none"; it has .*\bonce\b`, tl.must(t, exitFailed, "invoke", "none").errs)
		tl.must(t, exitUsage, "invoke", "once", "{")
	})
	t.Run("top", func(t *testing.T) {
		golden(t, w, "top.txt", tl.must(t, exitOK, "top", "-n", "1").out, all...)
		decode[topReport](t, tl, exitOK, "top", "-n", "3", "-interval", "10ms")
	})
	t.Run("doctor", func(t *testing.T) {
		r := decode[doctorReport](t, tl, exitOK, "doctor")
		require.True(t, r.OK)
		require.Subset(t, []string{"ephemeral-port"}, findingCodes(r), "%+v", r.Findings)
	})
	t.Run("names", func(t *testing.T) {
		w.Spawn().Must(processtest.Command{Op: "create", Name: "other", Port: w.Port, Centre: w.Centre.Address()})
		r := tl.must(t, exitUsage, "get", "app/limit")
		require.Contains(t, r.errs, "-name other")
		require.Equal(t, "42\n", tl.must(t, exitOK, "get", "app/limit", "-name", processtest.Name).out)
		require.Len(t, decode[statusReport](t, tl, exitOK, "status").Clusters, 1, "a leader beside the port is no cluster of its own")
		tl.must(t, exitNobody, "status", "-name", "none")
	})
}

// inOrder returns the children in the order in which the tool lists them.
func inOrder[T any](t *testing.T, all []*processtest.Child, listed []T, pid func(T) int) (order []*processtest.Child) {
	t.Helper()
	for _, l := range listed {
		for _, c := range all {
			if c.PID == pid(l) {
				order = append(order, c)
			}
		}
	}
	require.Len(t, order, len(all))
	return order
}

func TestUsage(t *testing.T) {
	tl, _ := begin(t)
	require.Contains(t, tl.must(t, exitOK, "help").out, "explain KEY")
	require.Contains(t, tl.must(t, exitOK, "-h").out, "Exit codes")
	require.Contains(t, tl.must(t, exitOK).out, "usage:")
	require.Contains(t, tl.must(t, exitOK, "version").out, "clusterctl ")
	for _, args := range [][]string{
		{"nothing"},
		{"get"},
		{"get", "a", "b"},
		{"status", "-o", "xml"},
		{"status", "-nonsense"},
		{"completion", "tcsh"},
		{"status", "-port", "99999"},
		{"status", "-address", "here"},
		{"keys", "-n", "-1"},
		{"get", "k", "-timeout", "0s"},
		{"top", "-interval", "-1s"},
	} {
		require.NotEmpty(t, tl.must(t, exitUsage, args...).errs, "%v", args)
	}
	for _, args := range [][]string{{"status"}, {"keys"}, {"get", "k"}, {"top"}, {"doctor"}, {"explain", "k"}, {"status", "-port", "1"}} {
		require.NotEmpty(t, tl.must(t, exitNobody, append(args, "-timeout", "1s")...).errs, "%v", args)
	}
}

// The completions are what the shell makes of them.
func TestCompletion(t *testing.T) {
	tl, _ := begin(t)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		require.Contains(t, tl.must(t, exitOK, "completion", shell).out, "explain")
	}
	bash, err := exec.LookPath("bash")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no bash")
	}
	script := tl.must(t, exitOK, "completion", "bash").out
	for typed, want := range map[string]string{"expl": "explain", "-no": "-no-color", "ke": "keys"} {
		text := script + "\nCOMP_WORDS=(clusterctl " + typed + "); COMP_CWORD=1; _clusterctl; echo ${COMPREPLY[@]}"
		out, err := exec.CommandContext(t.Context(), bash, "-c", text).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want+"\n", string(out), "%q is completed", typed)
	}
}
