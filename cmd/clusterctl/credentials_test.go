package main

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

const someSecret = "correct horse battery staple"

func tlsArgs(f processtest.TLSFiles) []string {
	return []string{"-tls-cert", f.Cert, "-tls-key", f.Key, "-tls-ca", f.CA, "-tls-name", f.ServerName}
}

// Every command reaches a cluster that asks for more than the user.
func TestCredentials(t *testing.T) {
	for name, credentials := range map[string]func(*testing.T, *processtest.Command) []string{
		"secret": withSecret,
		"tls":    withTLS,
		"both": func(t *testing.T, create *processtest.Command) []string {
			return append(withSecret(t, create), withTLS(t, create)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tl, w := begin(t)
			create := w.Creation()
			flags := credentials(t, &create)
			all := startWith(w, create, create)
			w.Centre.Set("k", "v")
			subscribed(w, all, "k", "v")
			reached(t, tl, all, flags)
		})
	}
}

func withSecret(t *testing.T, create *processtest.Command) []string {
	file := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(file, []byte(someSecret+"\n"), 0o600))
	create.Secret = someSecret
	return []string{"-secret-file", file}
}

func withTLS(t *testing.T, create *processtest.Command) []string {
	ours := processtest.NewAuthority(t)
	create.TLS = ours.Files(ours, "cluster")
	return tlsArgs(ours.Files(ours, "operator"))
}

// reached checks what each command does with the flags, and that none does
// anything without.
func reached(t *testing.T, tl *tool, all []*processtest.Child, flags []string) {
	t.Helper()
	pid := strconv.Itoa(all[0].PID)
	for _, c := range []struct {
		want string
		args []string
	}{
		{pid, []string{"status"}},
		{"fresh", []string{"keys"}},
		{pid, []string{"followers"}},
		{pid, []string{"top", "-n", "1"}},
		{"v\n", []string{"get", "k"}},
		{"fresh 1.1 v\n", []string{"watch", "k", "-n", "1"}},
		{"has been sent the newest", []string{"explain", "k"}},
		{pid, []string{"invoke", "once", `"x"`}},
		{"", []string{"publish", "other", "x"}},
		{"looked at", []string{"doctor"}},
		{pid + " has ended", []string{"resign", "-yes"}},
	} {
		r := tl.run(t, append(c.args, "-timeout", "1s")...)
		require.True(t, r.code != exitOK || c.args[0] == "top", "%v without", c.args)
		require.Regexp(t, "WithTLS|WithSecret", r.out+r.errs, "%v without", c.args)
		require.Contains(t, tl.must(t, exitOK, append(c.args, flags...)...).out, c.want, "%v", c.args)
	}
	require.Equal(t, all[1].PID, decode[statusReport](t, tl, exitOK, append([]string{"status"}, flags...)...).Clusters[0].Names[0].Leader.PID)
	require.Equal(t, inspect.Fresh, decode[keyValue](t, tl, exitOK, append([]string{"get", "k"}, flags...)...).State)
}

// What makes no sense is said before anything is tried.
func TestCredentialsThatMakeNoSense(t *testing.T) {
	tl, _ := begin(t)
	ours := processtest.NewAuthority(t)
	files := ours.Files(ours, "operator")
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, flags := range map[string][]string{
		"are needed together": {"-tls-cert", files.Cert},
		"no such file":        {"-secret-file", "nowhere"},
		"has no certificate":  {"-tls-cert", files.Cert, "-tls-key", files.Key, "-tls-ca", empty},
	} {
		require.Contains(t, tl.must(t, exitUsage, append([]string{"status"}, flags...)...).errs, want)
	}
}
