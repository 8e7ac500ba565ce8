package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// The tests drive the built program against clusters of real processes; see
// package processtest.
func TestMain(m *testing.M) {
	processtest.RunChild()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil { // they wait, most of the time, and need no processor
		panic(err)
	}
	programs.tool = builder(filepath.Join(dir, "clusterctl"), "build")
	programs.newer = builder(filepath.Join(dir, "newer"), "test", "-c",
		"-ldflags", "-X github.com/clusterclient/clusterclient/internal/build.version=v9.9.9")
	return m.Run()
}

// programs are built when the first test needs them. They return where they
// are.
var programs struct {
	tool  func() (string, error)
	newer func() (string, error) // the binary of these tests as of another version
}

func builder(path string, args ...string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		out, err := exec.Command("go", append(args, "-o", path, ".")...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return path, nil
	})
}

// A tool is the built program.
type tool struct {
	path string
	dir  string // runtime directory of the test
	port int    // that it takes for the default one, which may be in use here
	user int    // that runs it; 0 is that of the test

	args []string // that doctor is run with, besides
}

// begin returns the program, and a world, of which alone it finds the clusters,
// and lets other tests run at the same time: all of them wait most of theirs.
func begin(t *testing.T) (*tool, *processtest.World) {
	t.Helper()
	t.Parallel()
	path, err := programs.tool()
	require.NoError(t, err)
	w := processtest.New(t)
	return &tool{path: path, dir: w.RuntimeDir, port: w.Port}, w
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
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+tl.dir, "CLUSTERCLIENT_PORT="+strconv.Itoa(tl.port))
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
		{regexp.QuoteMeta(w.RuntimeDir), "DIR"},
		{`\(clusterctl\.test\)|\bclusterctl\.test\b|\(newer\)`, "PROGRAM"},
		{`\d+ keys, \d+ messages`, "N keys, N messages"},
		{`:? (the connection ended before an answer came: .*|does not answer as a cluster does: .*(EOF|reset|broken pipe|closed).*)`, " CLOSED"},
		{`value of \d+ keys`, "value of N keys"},
		{`pid \d+ of uid \d+`, "pid TOOL of uid OURS"},
		{fmt.Sprintf(`(owner|user|uid) %d\b`, os.Geteuid()), "$1 OURS"},
		{`range \d+ to \d+|below \d+`, "RANGE"},

		{`\(PROGRAM\)`, "PROGRAM"},
		{`\(devel\)|v\d+\.\d+\.\d+[-+.\w]*`, "BUILD"},
		{`\b\d+(\.\d+)?(ms|µs|s|m\d+s|h\d+m)\b`, "AGE"},
		{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`, "TIME"},
		{`127\.0\.0\.1:\d{4,5}`, "ADDRESS"},
		{`(\d+-)?127\.0\.0\.1-PORT\.sock`, "SOCKET"},
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

// findingCodes returns the codes of findings, in order.
func findingCodes(r doctorReport) []string {
	all := []string{}
	for _, f := range r.Findings {
		all = append(all, f.Code)
	}
	return all
}

// longest is how long until waits before the test fails. It is no expectation of
// how long anything takes.
const longest = 4 * time.Minute

// until runs the program again and again until it tells what is waited for.
func until(t *testing.T, what string, told func() bool) {
	t.Helper()
	late := time.Now().Add(longest)
	for !told() {
		require.True(t, time.Now().Before(late), "it is not true that %s", what)
	}
}

// look returns what is told of the only name.
func look(t *testing.T, tl *tool) inspect.Name {
	t.Helper()
	var r statusReport
	require.NoError(t, json.Unmarshal([]byte(tl.run(t, "status", "-o", "json").out), &r))
	if len(r.Clusters) == 0 || len(r.Clusters[0].Names) == 0 {
		return inspect.Name{}
	}
	return r.Clusters[0].Names[0]
}

// leadership is nil while the leader has not told, as one that is busy may not.
func leadership(t *testing.T, tl *tool) *inspect.Leadership {
	t.Helper()
	return look(t, tl).Leadership
}

// listed returns the followers of the only name.
func listed(t *testing.T, tl *tool) []inspect.Follower {
	t.Helper()
	if l := leadership(t, tl); l != nil {
		return l.Followers
	}
	return nil
}

func state(t *testing.T, tl *tool) string {
	t.Helper()
	return look(t, tl).State
}

// one checks that there is a finding with a code.
func one(t *testing.T, r doctorReport, code string) {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f finding) bool { return f.Code == code })
	require.GreaterOrEqual(t, i, 0, "no finding %q in %+v", code, r.Findings)
	require.NotEmpty(t, r.Findings[i].Do)
}
