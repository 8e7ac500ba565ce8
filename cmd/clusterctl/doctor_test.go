package main

import (
	"fmt"
	"net"
	"os"
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

// mustFind runs doctor on the world's port, which has to find something: as
// JSON, in the form of the schema, and as text, that of testdata/doctor. The
// processes are PID1 and so on there.
func mustFind(t *testing.T, tl *tool, w *processtest.World, exit int, code, file string, all ...*processtest.Child) {
	t.Helper()
	args := append([]string{"doctor", "-port", strconv.Itoa(w.Port)}, tl.args...)
	r := decode[doctorReport](t, tl, exit, args...)
	require.Equal(t, exit == exitOK, r.OK)
	one(t, r, code)
	golden(t, w, filepath.Join("doctor", file+".txt"), findings(tl.must(t, exit, args...).out, code), all...)
}

// findings leaves out where doctor looked, and that a port is ephemeral, which
// depends on the system, unless that is what is wrong.
func findings(text, code string) string {
	_, text, _ = strings.Cut(text, "\n\n")
	var kept []string
	for part := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n\n") {
		if code == "ephemeral-port" || !strings.HasPrefix(part, "warning ephemeral-port ") {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "\n\n") + "\n"
}

// Each condition that doctor knows is planted for real. Those of processes that
// are stopped, or of other users, have tests of their own.
func TestDoctor(t *testing.T) {
	for _, c := range []struct {
		code, file string
		exit       int
		plant      func(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child
	}{
		{"stranger", "stranger-http", exitUnwell, aStranger("http")},
		{"stranger", "stranger-silent", exitUnwell, aStranger("silent")},
		{"stranger", "stranger-closes", exitUnwell, aStranger("closes")},
		{"nobody", "nobody", exitUnwell, func(*testing.T, *tool, *processtest.World) []*processtest.Child { return nil }},
		{"refused", "refused-secret", exitUnwell, aSecret},
		{"refused", "refused-tls", exitUnwell, anAuthority},
		{"identity", "identity", exitUnwell, anIdentity},
		{"blind", "blind", exitUnwell, aBlindLeader},
		{"blind", "blind-to-a-key", exitOK, aKeyOutOfSight},
		{"upstream", "upstream", exitUnwell, aLeaderWithoutUpstream},
		{"opening", "opening", exitOK, anOpeningLeader},
		{"leaving", "leaving", exitOK, aLeavingLeader},
		{"runtime-dir", "runtime-dir-mode", exitUnwell, anOpenDirectory},
		{"runtime-dir", "runtime-dir-owner", exitUnwell, aDirectoryOfAnother},
		{"builds", "builds", exitOK, twoBuilds},
		{"no-successor", "no-successor", exitOK, noSuccessor},
		{"no-socket", "no-socket", exitOK, noSocket},
		{"overload", "overload", exitOK, tooManyCalls},
		{"behind", "behind", exitOK, aSlowFollower},
		{"ephemeral-port", "ephemeral-port", exitOK, anEphemeralPort},
	} {
		t.Run(c.file, func(t *testing.T) {
			tl, w := begin(t)
			mustFind(t, tl, w, c.exit, c.code, c.file, c.plant(t, tl, w)...)
		})
	}
}

func aStranger(kind string) func(*testing.T, *tool, *processtest.World) []*processtest.Child {
	return func(t *testing.T, _ *tool, w *processtest.World) []*processtest.Child {
		stranger := w.Spawn()
		port, err := strconv.Atoi(stranger.Must(processtest.Command{Op: "listen", Data: kind, Tag: "x"}).Data)
		require.NoError(t, err)
		w.Port = port
		return []*processtest.Child{stranger}
	}
}

// startWith starts processes one after the other, of which the first one leads.
func startWith(w *processtest.World, all ...processtest.Command) (children []*processtest.Child) {
	for _, create := range all {
		child := w.Spawn()
		child.Must(create)
		children = append(children, child)
	}
	return children
}

func aSecret(_ *testing.T, _ *tool, w *processtest.World) []*processtest.Child {
	create := w.Creation()
	create.Secret = someSecret
	return startWith(w, create)
}

func anAuthority(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	ours, theirs := processtest.NewAuthority(t), processtest.NewAuthority(t)
	create := w.Creation()
	create.TLS = ours.Files(ours, "cluster")
	tl.args = tlsArgs(ours.Files(theirs, "cluster"))
	return startWith(w, create)
}

func anIdentity(t *testing.T, _ *tool, w *processtest.World) []*processtest.Child {
	w.Start(1)
	other := w.Spawn()
	create := w.Creation()
	create.Identity = []string{"other"}
	require.NotEmpty(t, other.Do(create).Err)
	return []*processtest.Child{other}
}

func aBlindLeader(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	all := w.Start(2)
	w.Centre.Set("k", "1")
	subscribed(w, all, "k", "1")
	w.Centre.Close()
	until(t, "the leader is blind", func() bool {
		l := leadership(t, tl)
		return l != nil && !l.Upstream.BlindSince.IsZero()
	})
	return all
}

// A value that is too large leaves its key without one.
func aKeyOutOfSight(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	create := w.Creation()
	create.Message = 1000
	all := startWith(w, create, create)
	w.Centre.Set("k", "1")
	subscribed(w, all, "k", "1")
	w.Centre.Set("large", strings.Repeat("x", 1001))
	all[0].Must(processtest.Command{Op: "subscribe", Key: "large", Tag: "large", Quiet: true})
	until(t, "the value came", func() bool {
		l := leadership(t, tl)
		return l != nil && strings.Contains(l.Upstream.Trouble, "bytes")
	})
	return all
}

// The first leader kept the values; the second one finds no upstream.
func aLeaderWithoutUpstream(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	create := w.Creation()
	create.Snapshot = filepath.Join(tl.dir, "kept")
	first := startWith(w, create)
	w.Centre.Set("k", "1")
	subscribed(w, first, "k", "1")
	first[0].Must(processtest.Command{Op: "close"})
	w.Centre.FailOpen("out of order")
	all := startWith(w, create)
	until(t, "it stands in", func() bool { return leadership(t, tl) != nil })
	return all
}

func anOpeningLeader(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	w.Centre.Hold(true)
	t.Cleanup(func() { w.Centre.Hold(false) })
	slow := w.Spawn()
	slow.Tell(w.Creation())
	until(t, "it is opening", func() bool { return state(t, tl) == inspect.Opening })
	return []*processtest.Child{slow}
}

// It waits for the calls under way.
func aLeavingLeader(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	all := w.Start(2)
	all[1].Tell(processtest.Command{Op: "invoke", Method: "block", Data: "x", Timeout: time.Minute})
	w.WaitFor("the handler runs", func() bool { return len(w.Centre.Runs["x"]) == 1 })
	all[0].Tell(processtest.Command{Op: "resign"})
	until(t, "it is leaving", func() bool { return state(t, tl) == inspect.Leaving })
	return all
}

func anOpenDirectory(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	all := w.Start(1)
	require.NoError(t, os.Chmod(filepath.Join(tl.dir, "clusterclient"), 0o755)) //nolint:gosec // that is what is wrong
	return all
}

func aDirectoryOfAnother(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	all := w.Start(1)
	require.NoError(t, os.Chown(filepath.Join(tl.dir, "clusterclient"), 12345, -1))
	return all
}

func twoBuilds(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	all := w.Start(1)
	r := decode[doctorReport](t, tl, exitOK, "doctor", "-port", strconv.Itoa(w.Port))
	require.NotContains(t, findingCodes(r), "builds")
	path, err := programs.newer()
	require.NoError(t, err)
	newer := w.SpawnAs(path)
	newer.Must(w.Creation())
	return append(all, newer)
}

func noSuccessor(_ *testing.T, _ *tool, w *processtest.World) []*processtest.Child {
	follower := w.Creation()
	follower.Centre = ""
	return startWith(w, w.Creation(), follower)
}

// Something is in the way of the file that the leader would make.
func noSocket(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	before := w.Start(1)
	files, err := filepath.Glob(filepath.Join(tl.dir, "clusterclient", "*.sock"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	before[0].Must(processtest.Command{Op: "close"})
	dir, file := filepath.Split(files[0])
	leads := w.Spawn()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, fmt.Sprintf(".%d-%s", leads.PID, file), "full"), 0o700))
	leads.Must(w.Creation())
	return []*processtest.Child{leads}
}

func tooManyCalls(t *testing.T, _ *tool, w *processtest.World) []*processtest.Child {
	create := w.Creation()
	create.Calls = 1
	all := startWith(w, create, w.Creation())
	all[1].Tell(processtest.Command{Op: "invoke", Method: "block", Data: "x", Timeout: time.Minute})
	w.WaitFor("the handler runs", func() bool { return len(w.Centre.Runs["x"]) == 1 })
	require.Contains(t, all[1].Do(processtest.Command{Op: "invoke", Method: "once", Data: "y"}).Err, "limit reached")
	return all
}

// keepChanging sets keys to values of so many bytes, again and again until the
// test ends: who takes them more slowly stays behind, however long it takes to
// look.
func keepChanging(t *testing.T, w *processtest.World, every time.Duration, size int, keys ...string) {
	t.Helper()
	set := func(round int) {
		for _, key := range keys {
			w.Centre.SetRepeated(key, string(rune('a'+round%26)), size)
		}
	}
	set(0)
	ended := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for round := 1; ; round++ {
			select {
			case <-tick.C:
				set(round)
			case <-ended:
				return
			}
		}
	})
	t.Cleanup(func() {
		close(ended)
		changing.Wait()
	})
}

// It takes a MiB a second, and there are many.
func aSlowFollower(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	var keys []string
	for i := range 30 {
		keys = append(keys, strconv.Itoa(i))
	}
	slow := w.Creation()
	slow.Centre, slow.PerSecond = "", 1<<20
	all := startWith(w, w.Creation(), slow, w.Creation())
	for _, key := range keys {
		all[1].Must(processtest.Command{Op: "subscribe", Key: key, Tag: key, Quiet: true})
	}
	keepChanging(t, w, 10*time.Second, 1<<20, keys...)
	until(t, "it is behind", func() bool {
		return slices.ContainsFunc(listed(t, tl), func(f inspect.Follower) bool { return f.PID == all[1].PID && f.Behind > len(keys)/2 })
	})
	return all[1:]
}

func anEphemeralPort(t *testing.T, tl *tool, w *processtest.World) []*processtest.Child {
	if _, _, ok := ephemeralPorts(); !ok {
		t.Skip("the system does not tell which ports are ephemeral")
	}
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, lis.Close())
	w.Port = lis.Addr().(*net.TCPAddr).Port
	tl.port = w.Port
	return w.Start(1)
}

func TestDoctorAge(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 12 * time.Millisecond: "12ms", 1234 * time.Millisecond: "1.2s", 61 * time.Second: "1m1s",
		2 * time.Minute: "2m0s", 90 * time.Minute: "1h30m", 3 * time.Hour: "3h0m", 73 * time.Hour: "3d1h",
	} {
		require.Equal(t, want, age(now.Add(-d), now), "%v", d)
	}
	require.Equal(t, "-", age(time.Time{}, now))
}

func TestShellWord(t *testing.T) {
	for name, want := range map[string]string{"app": "app", "a b": "'a b'", "it's": `'it'\''s'`, "$(rm)": "'$(rm)'"} {
		require.Equal(t, want, shellWord(name))
	}
}

// The run-book knows every finding.
func TestDoctorIsDocumented(t *testing.T) {
	var source []byte
	for _, file := range []string{"doctor.go", "doctor_followers.go"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		source = append(source, text...)
	}
	book, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	all := regexp.MustCompile(`d\.find\(\w+, "([-a-z]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(all), 10)
	for _, m := range all {
		require.Contains(t, string(book), "| `"+m[1]+"` |")
	}
}
