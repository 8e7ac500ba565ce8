package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asMain in the environment makes the test binary the program, so that what
// runs is what was built for the test, race detector included. Its value marks
// the processes of one test.
const asMain = "CONFIGCENTER_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	// Workers of a supervisor in this process come without the variable.
	if os.Getenv(asMain) != "" || len(os.Args) > 1 && os.Args[1] == workerCommand {
		main()
	}
	os.Exit(m.Run())
}

// A program is one run of configcenter in a temporary folder of its own.
type program struct {
	*exec.Cmd
	mark string
	temp string
}

func newProgram(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	p := &program{Cmd: exec.CommandContext(ctx, self, args...), temp: t.TempDir(), mark: fmt.Sprintf("%s=%d", asMain, rand.Uint64())}
	p.Env = append(os.Environ(), p.mark, "TMPDIR="+p.temp, "TMP="+p.temp)
	return p
}

// checkGone fails the test if a process or a folder of p is left. Processes are
// looked for where the system shows their environments.
func (p *program) checkGone(t *testing.T) {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(p.temp, "configcenter-*"))
	if err != nil || len(dirs) > 0 {
		t.Errorf("folders left = %q, %v, want none", dirs, err)
	}
	if left := p.processes(t); len(left) > 0 {
		t.Errorf("processes left = %q, want none", left)
	}
}

func (p *program) processes(t *testing.T) []string {
	t.Helper()
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range environs {
		if env, _ := os.ReadFile(name); bytes.Contains(env, []byte(p.mark)) {
			found = append(found, strings.Split(name, "/")[2])
		}
	}
	return found
}

func checkTour(t *testing.T, p *program) {
	t.Helper()
	out, err := p.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the tour failed: %v", err)
	}
	if held, failed := strings.Count(string(out), "✓"), strings.Count(string(out), "✗"); held != 10 || failed != 0 {
		t.Errorf("%d steps held and %d did not, want 10 and 0", held, failed)
	}
	p.checkGone(t)
}

func TestTour(t *testing.T) { checkTour(t, newProgram(t, "-tour")) }

func TestTourWithExistingEtcd(t *testing.T) {
	etcd, err := openEtcd(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.close() }()
	checkTour(t, newProgram(t, "-tour", "-workers", "2", "-etcd", etcd.endpoint))
}

// started runs p until its workers share a connection.
func started(t *testing.T, p *program) {
	t.Helper()
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "etcd counts 1 connection, 1 watcher" {
			go func() { _, _ = io.Copy(io.Discard, out) }() // so that p need not wait for a reader
			return
		}
	}
	t.Fatalf("configcenter did not come to one connection: %v", p.Wait())
}

func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no way to interrupt one process")
	}
	p := newProgram(t, "-http", "127.0.0.1:0")
	started(t, p)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("after an interrupt: %v, want success", err)
	}
	p.checkGone(t)
}

// Workers do not outlive a supervisor that can do nothing any more.
func TestKilledSupervisor(t *testing.T) {
	p := newProgram(t, "-http", "127.0.0.1:0")
	started(t, p)
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait() // says that it was killed
	deadline := time.Now().Add(patience)
	for len(p.processes(t)) > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("processes left = %q, want none", p.processes(t))
		}
		time.Sleep(time.Millisecond) // there is nobody to tell when they end
	}
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-workers", "0"}, {"-tour", "-workers", "1"}, {"-port", "70000"}, {"stray"}, {"-etcd", "127.0.0.1:1"},
	} {
		out, err := newProgram(t, args...).CombinedOutput()
		if err == nil || !bytes.HasPrefix(out, []byte("configcenter: ")) {
			t.Errorf("configcenter %q = %v, %q, want a failure that says why", args, err, out)
		}
	}
}
