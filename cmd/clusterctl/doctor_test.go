package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// diagnose runs doctor, which has to find something wrong, on the world's
// port.
func diagnose(t *testing.T, tl *tool, w *processtest.World) doctorReport {
	t.Helper()
	return decode[doctorReport](t, tl, exitUnwell, "doctor", "-port", strconv.Itoa(w.Port))
}

// The conditions are planted for real, one after the other.
func TestDoctor(t *testing.T) {
	tl := buildTool(t)
	t.Run("stranger", func(t *testing.T) {
		for _, kind := range []string{"http", "silent", "closes"} {
			t.Run(kind, func(t *testing.T) {
				w := processtest.New(t)
				stranger := w.Spawn()
				stranger.Must(processtest.Command{Op: "listen", Port: w.Port, Data: kind, Tag: "x"})
				f := one(t, diagnose(t, tl, w), "stranger")
				require.Contains(t, f.What, "pid "+strconv.Itoa(stranger.PID)+" (clusterctl.test)")
				require.Contains(t, f.Do, "another port")
			})
		}
	})
	t.Run("identity", func(t *testing.T) {
		w := processtest.New(t)
		w.Start(1)
		other := w.Spawn()
		create := w.Creation()
		create.Identity = []string{"other"}
		require.NotEmpty(t, other.Do(create).Err)
		require.Contains(t, one(t, diagnose(t, tl, w), "identity").What, strconv.Itoa(other.PID))
	})
	t.Run("blind", func(t *testing.T) {
		w := processtest.New(t)
		all := w.Start(2)
		w.Centre.Set("k", "1")
		subscribed(w, all, "k", "1")
		w.Centre.Close()
		w.WaitFor("a value is stale", func() bool { return all[1].Confirmed["s"].Stale || tl.run(t, "get", "k").code == exitUnwell })
		f := one(t, diagnose(t, tl, w), "blind")
		require.Contains(t, f.What, "has not reached the upstream")
		require.Equal(t, levelError, f.Level)
	})
	t.Run("runtime-dir", func(t *testing.T) {
		w := processtest.New(t)
		w.Start(1)
		dir := filepath.Join(tl.dir, "clusterclient")
		require.NoError(t, os.Chmod(dir, 0o755)) //nolint:gosec // that is what is wrong
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		require.Contains(t, one(t, diagnose(t, tl, w), "runtime-dir").What, "0755")
	})
	t.Run("runtime-dir of another user", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can give a directory away")
		}
		w := processtest.New(t)
		w.Start(1)
		dir := filepath.Join(tl.dir, "clusterclient")
		require.NoError(t, os.Chown(dir, 12345, -1))
		t.Cleanup(func() { _ = os.Chown(dir, 0, -1) })
		require.Contains(t, one(t, diagnose(t, tl, w), "runtime-dir").What, "owner 12345")
	})
	t.Run("nobody", func(t *testing.T) {
		w := processtest.New(t)
		require.Contains(t, one(t, diagnose(t, tl, w), "nobody").What, strconv.Itoa(w.Port))
	})
	t.Run("builds", func(t *testing.T) {
		w := processtest.New(t)
		w.Start(1)
		r := decode[doctorReport](t, tl, exitOK, "doctor", "-port", strconv.Itoa(w.Port))
		require.NotContains(t, codes(r), "builds")
		newer := w.SpawnAs(buildTests(t))
		newer.Must(w.Creation())
		r = decode[doctorReport](t, tl, exitOK, "doctor", "-port", strconv.Itoa(w.Port))
		f := one(t, r, "builds")
		require.Equal(t, levelWarning, f.Level)
		require.Contains(t, f.What, "v9.9.9: "+strconv.Itoa(newer.PID))
	})
	t.Run("no-successor", func(t *testing.T) {
		w := processtest.New(t)
		w.Start(1)
		create := w.Creation()
		create.Centre = ""
		w.Spawn().Must(create)
		r := decode[doctorReport](t, tl, exitOK, "doctor", "-port", strconv.Itoa(w.Port))
		one(t, r, "no-successor")
	})
}

func TestDoctorKnowsTheEphemeralRange(t *testing.T) {
	if _, _, ok := ephemeralPorts(); !ok {
		t.Skip("the system does not tell which ports are ephemeral")
	}
	tl := buildTool(t)
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, lis.Close())
	w := processtest.New(t)
	w.Port = lis.Addr().(*net.TCPAddr).Port
	w.Start(1)
	r := decode[doctorReport](t, tl, exitOK, "doctor", "-port", strconv.Itoa(w.Port))
	require.Contains(t, one(t, r, "ephemeral-port").Do, "ip_local_reserved_ports="+strconv.Itoa(w.Port))
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

// The run-book knows every finding.
func TestDoctorIsDocumented(t *testing.T) {
	source, err := os.ReadFile("doctor.go")
	require.NoError(t, err)
	book, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	all := regexp.MustCompile(`d\.find\(\w+, "([-a-z]+)"`).FindAllStringSubmatch(string(source), -1)
	require.Greater(t, len(all), 10)
	for _, m := range all {
		require.Contains(t, string(book), "| `"+m[1]+"` |")
	}
}
