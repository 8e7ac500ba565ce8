package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// The tests drive the built program against clusters of real processes; see
// package processtest.
func TestMain(m *testing.M) { processtest.Main(m) }

// A tool is the built program.
type tool struct {
	path string
	dir  string // runtime directory of the test
	user int    // that runs it; 0 is that of the test
}

// buildTool builds the program. Nothing but the clusters of the test is found by
// it.
func buildTool(t *testing.T) *tool {
	t.Helper()
	tl := &tool{path: filepath.Join(t.TempDir(), "clusterctl"), dir: t.TempDir()}
	require.NoError(t, os.Chmod(tl.dir, 0o700))
	t.Setenv("XDG_RUNTIME_DIR", tl.dir)
	t.Setenv("CLUSTERCLIENT_PORT", "")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tl.path, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return tl
}

// buildTests builds the binary of these tests as of another version.
func buildTests(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "newer")
	out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", path,
		"-ldflags", "-X github.com/clusterclient/clusterclient/internal/build.version=v9.9.9", ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// A result is what one run came to.
type result struct {
	code      int
	out, errs string
}

func (tl *tool) run(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tl.path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+tl.dir)
	if tl.user != 0 {
		become(cmd, tl.user)
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return result{exit.ExitCode(), out.String(), errs.String()}
	}
	require.NoError(t, err)
	return result{0, out.String(), errs.String()}
}

// must runs the program and checks its exit code.
func (tl *tool) must(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := tl.run(t, args...)
	require.Equal(t, code, r.code, "clusterctl %s\nstdout:\n%s\nstderr:\n%s", strings.Join(args, " "), r.out, r.errs)
	return r
}

// decode runs the program with -o json, and checks what it prints against the
// schema, too.
func decode[T any](t *testing.T, tl *tool, code int, args ...string) T {
	t.Helper()
	r := tl.must(t, code, append(args, "-o", "json")...)
	checkSchema(t, tl, args[0], []byte(r.out))
	var v T
	require.NoError(t, json.NewDecoder(strings.NewReader(r.out)).Decode(&v), "%s", r.out)
	return v
}

// golden compares text, in which what differs from run to run is replaced,
// with what is in testdata.
func golden(t *testing.T, w *processtest.World, file, text string, all ...*processtest.Child) {
	t.Helper()
	for i, c := range all {
		text = replaceNumber(text, c.PID, "PID"+strconv.Itoa(i+1))
	}
	text = replaceNumber(text, w.Port, "PORT")
	for _, r := range []struct{ pattern, by string }{
		{`\(clusterctl\.test\)|\bclusterctl\.test\b`, "PROGRAM"},
		{`\(PROGRAM\)`, "PROGRAM"},
		{`\(devel\)|v\d+\.\d+\.\d+[-+.\w]*`, "BUILD"},
		{`\b\d+(\.\d+)?(ms|µs|s|m\d+s|h\d+m)\b`, "AGE"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
		{`127\.0\.0\.1:\d{4,5}`, "ADDRESS"},
		{` {2,}`, "  "},
	} {
		text = regexp.MustCompile(r.pattern).ReplaceAllString(text, r.by)
	}
	path := filepath.Join("testdata", file)
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text, "%s; UPDATE=1 writes it anew", path)
}

func replaceNumber(text string, n int, by string) string {
	return regexp.MustCompile(`\b`+strconv.Itoa(n)+`\b`).ReplaceAllString(text, by)
}

// codes returns the codes of findings, in order.
func codes(r doctorReport) []string {
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, f.Code)
	}
	return all
}

// one returns the finding with a code.
func one(t *testing.T, r doctorReport, code string) finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f finding) bool { return f.Code == code })
	require.GreaterOrEqual(t, i, 0, "no finding %q in %+v", code, r.Findings)
	require.NotEmpty(t, r.Findings[i].Do)
	return r.Findings[i]
}
