package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// A logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) warnings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), "[WARN]")
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// bench is one directory and what is logged of it.
type bench struct {
	t    *testing.T
	dir  string
	log  logbook
	os   system
	name string
}

func newBench(t *testing.T) *bench {
	return &bench{t: t, dir: filepath.Join(t.TempDir(), "snapshots"), os: osSystem(), name: "test"}
}

func (b *bench) open() *Store {
	return open(Config{
		Dir: b.dir, Name: b.name, Identity: []byte("upstream"),
		Logger: hclog.New(&hclog.LoggerOptions{Output: &b.log}),
	}, b.os)
}

// file returns the path of the one snapshot.
func (b *bench) file() string {
	all, err := filepath.Glob(filepath.Join(b.dir, "*.snapshot"))
	require.NoError(b.t, err)
	require.Len(b.t, all, 1, "snapshots")
	return all[0]
}

func (b *bench) put(s *Store, key, data string) {
	s.Put(Value{Key: key, Data: []byte(data), Version: "v" + data})
}

// has checks the value of key.
func (b *bench) has(s *Store, key, want string) {
	b.t.Helper()
	v, ok := s.Get(key)
	require.True(b.t, ok, "%q is not in the snapshot", key)
	require.Equal(b.t, want, string(v.Data))
	require.Equal(b.t, "v"+want, v.Version)
}

func TestKeepsTheNewestValues(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open()
		saved := time.Now()
		for i := range 100 {
			b.put(s, fmt.Sprint("key", i), "old")
		}
		time.Sleep(time.Minute)
		b.put(s, "key7", "new")
		s.Put(Value{Key: "key8", Deleted: true})
		s.Put(Value{Key: "key9"})
		b.has(s, "key7", "new")
		s.Close()

		s = b.open()
		defer s.Close()
		require.Equal(t, 100, s.Len())
		b.has(s, "key6", "old")
		b.has(s, "key7", "new")
		v, _ := s.Get("key6")
		require.Zero(t, v.Saved.Sub(saved))
		v, ok := s.Get("key8")
		require.True(t, ok && v.Deleted, "a deletion is a value")
		v, ok = s.Get("key9")
		require.True(t, ok && !v.Deleted && len(v.Data) == 0, "the empty value is one")
		_, ok = s.Get("other")
		require.False(t, ok)
		require.Empty(t, b.log.String())
		info, err := os.Stat(b.file())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	})
}

func TestWritesTheNewestOnly(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open()
		data := strings.Repeat("x", 1000)
		for i := range 1000 {
			b.put(s, "k", fmt.Sprint(data, i))
			time.Sleep(time.Millisecond)
		}
		s.Close()
		info, err := os.Stat(b.file())
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(10*2100), "1000 updates in a second")
		s = b.open()
		b.put(s, "k", data+"999")
		s.Close()
		again, err := os.Stat(b.file())
		require.NoError(t, err)
		require.Equal(t, info.Size(), again.Size(), "a value that has not changed was written")
	})
}

func TestFileDoesNotGrow(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open()
		b.put(s, "other", "kept")
		for i := range 100 {
			b.put(s, "k", fmt.Sprint(strings.Repeat("x", 100_000), i))
			time.Sleep(time.Second)
		}
		s.Close()
		info, err := os.Stat(b.file())
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(2_000_000), "100 updates of 100 kB")
		s = b.open()
		defer s.Close()
		b.has(s, "k", strings.Repeat("x", 100_000)+"99")
		b.has(s, "other", "kept")
		require.Empty(t, b.log.String())
	})
}

func TestValuesThatNobodyAsksForAreForgotten(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open()
		b.put(s, "forgotten", "1")
		b.put(s, "asked for", "1")
		s.Close()
		time.Sleep(31 * 24 * time.Hour)
		s = b.open()
		b.has(s, "asked for", "1")
		fill := func() {
			for i := range 20 {
				b.put(s, "k", fmt.Sprint(strings.Repeat("x", 100_000), i))
				time.Sleep(time.Second)
			}
		}
		fill()
		require.Equal(t, 3, s.Len(), "forgotten before there was time to ask")
		time.Sleep(25 * time.Hour)
		fill()
		s.Close()
		s = b.open()
		defer s.Close()
		require.Equal(t, 2, s.Len())
		b.has(s, "asked for", "1")
	})
}

// written returns a file with two values of one key and one of another.
func written(t *testing.T) (*bench, []byte) {
	b := newBench(t)
	s := b.open()
	for _, step := range [][2]string{{"k", "one"}, {"l", "two"}, {"k", "three"}} {
		b.put(s, step[0], step[1])
		time.Sleep(time.Second)
	}
	s.Close()
	whole, err := os.ReadFile(b.file())
	require.NoError(t, err)
	return b, whole
}

// mustHold checks that what there is was written once, and that the file heals.
func mustHold(t *testing.T, b *bench, file string, damaged []byte, what string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, damaged, 0o600))
	s := b.open()
	for key, may := range map[string]string{"k": "one three", "l": "two"} {
		if v, ok := s.Get(key); ok {
			require.Contains(t, may, string(v.Data), what)
			require.NotEmpty(t, v.Data, what)
			require.Equal(t, "v"+string(v.Data), v.Version, what)
		}
	}
	b.put(s, "new", "four")
	s.Close()
	s = b.open()
	b.has(s, "new", "four")
	s.Close()
}

func TestTruncatedAnywhere(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, whole := written(t)
		file := b.file()
		for n := range whole {
			before := b.log.warnings()
			mustHold(t, b, file, whole[:n], fmt.Sprintf("%d of %d bytes left", n, len(whole)))
			require.LessOrEqual(t, b.log.warnings()-before, 1, "%d of %d bytes left: %s", n, len(whole), &b.log)
		}
		require.Greater(t, b.log.warnings(), len(whole)-5)
	})
}

func TestFlippedAnywhere(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b, whole := written(t)
		file := b.file()
		for n := range whole {
			for _, bits := range []byte{0x01, 0x80, 0xff} {
				damaged := bytes.Clone(whole)
				damaged[n] ^= bits
				before := b.log.warnings()
				mustHold(t, b, file, damaged, fmt.Sprintf("byte %d flipped", n))
				require.Equal(t, 1, b.log.warnings()-before, "byte %d flipped: %s", n, &b.log)
			}
		}
	})
}

func TestUnusableFiles(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, b *bench, file string)
		want string
	}{
		"older format": {func(t *testing.T, _ *bench, file string) {
			require.NoError(t, os.WriteFile(file, []byte(magic+"0\n and so on and so forth"), 0o600))
		}, "its format is not that of this build"},
		"something else": {func(t *testing.T, _ *bench, file string) {
			require.NoError(t, os.WriteFile(file, []byte("PK\x03\x04 and so on and so forth until the header is full"), 0o600))
		}, "it is no snapshot"},
		"of another upstream": {func(t *testing.T, _ *bench, file string) {
			require.NoError(t, os.WriteFile(file, header([16]byte{}), 0o600))
		}, "another upstream"},
		"empty": {func(t *testing.T, _ *bench, file string) {
			require.NoError(t, os.WriteFile(file, nil, 0o600))
		}, "it ends within its header"},
		"of another user": {func(t *testing.T, _ *bench, file string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			require.NoError(t, os.Chown(file, 12345, 12345))
		}, "belongs to user 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b, _ := written(t)
				file := b.file()
				test.make(t, b, file)
				s := b.open()
				require.Zero(t, s.Len())
				require.Equal(t, 1, b.log.warnings(), &b.log)
				require.Contains(t, b.log.String(), test.want)
				b.put(s, "k", "new")
				s.Close()
				s = b.open()
				defer s.Close()
				b.has(s, "k", "new")
				require.Equal(t, 1, b.log.warnings(), &b.log)
			})
		})
	}
}

func TestUnusableDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		make func(t *testing.T, dir string)
		want string
	}{
		"nothing above it": {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Dir(dir))) }, "no such file"},
		"a file":           {func(t *testing.T, dir string) { require.NoError(t, os.WriteFile(dir, nil, 0o600)) }, "is not a directory"},
		"open to others": {func(t *testing.T, dir string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chmod(dir, 0o777)) //nolint:gosec // it is what is refused
		}, "chmod go-w"},
		"of another user": {func(t *testing.T, dir string) {
			if os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chown(dir, 12345, 12345))
		}, "belongs to user 12345"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := newBench(t)
				test.make(t, b.dir)
				s := b.open()
				b.put(s, "k", "one")
				time.Sleep(time.Hour)
				b.has(s, "k", "one")
				s.Close()
				require.Equal(t, 1, b.log.warnings(), &b.log)
				require.Contains(t, b.log.String(), test.want)
			})
		})
	}
}

// A fullDisk takes no more than room bytes.
type fullDisk struct {
	file
	room *atomic.Int64
}

func (d fullDisk) WriteAt(p []byte, at int64) (int, error) {
	if room := d.room.Load(); int64(len(p)) > room {
		n, _ := d.file.WriteAt(p[:room], at)
		d.room.Store(0)
		return n, syscall.ENOSPC
	}
	d.room.Add(-int64(len(p)))
	return d.file.WriteAt(p, at)
}

func TestFullDisk(t *testing.T) {
	for name, truncates := range map[string]bool{"truncates": true, "does not truncate": false} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				b := newBench(t)
				var room atomic.Int64
				room.Store(1000)
				b.os.open = func(path string, flag int) (file, error) {
					f, err := osSystem().open(path, flag)
					if err != nil {
						return nil, err
					}
					if !truncates {
						return brokenDisk{fullDisk{f, &room}}, nil
					}
					return fullDisk{f, &room}, nil
				}
				s := b.open()
				b.put(s, "k", "one")
				time.Sleep(time.Second)
				for i := range 100 {
					b.put(s, fmt.Sprint("key", i), strings.Repeat("y", 100))
					b.put(s, "k", fmt.Sprint("two", i))
					time.Sleep(time.Second)
				}
				require.Equal(t, 1, b.log.warnings(), &b.log)
				require.Contains(t, b.log.String(), "no space left on device")

				b2 := &bench{t: t, dir: b.dir, name: b.name, os: osSystem()} // a restart now
				b2.os.lock = func(string) (func(), error) { return nil, errors.New("somebody has it") }
				other := b2.open()
				v, ok := other.Get("k")
				require.True(t, ok && strings.HasPrefix(string(v.Data), "two") && v.Version == "v"+string(v.Data), "%+v", v)
				other.Close()

				room.Store(1 << 20)
				time.Sleep(2 * time.Minute)
				s.Close()
				require.Equal(t, 1, b.log.warnings(), &b.log)
				s = b.open()
				defer s.Close()
				b.has(s, "k", "two99")
				b.has(s, "key99", strings.Repeat("y", 100))
			})
		})
	}
}

type brokenDisk struct{ fullDisk }

func (brokenDisk) Truncate(int64) error { return syscall.EIO }

func TestOneWriterAtATime(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		first, second := b.open(), b.open()
		require.Zero(t, b.log.warnings(), &b.log)
		b.put(first, "k", "one")
		time.Sleep(time.Second)
		b.put(second, "k", "two")
		b.put(second, "l", "three")
		time.Sleep(time.Hour)
		require.Equal(t, 1, b.log.warnings(), &b.log)
		require.Contains(t, b.log.String(), fmt.Sprintf("is locked by pid %d", os.Getpid()))
		b.put(first, "m", "four")
		first.Close()
		b.has(second, "k", "two")
		time.Sleep(2 * time.Minute)
		second.Close()
		require.Equal(t, 1, b.log.warnings(), &b.log)

		s := b.open()
		defer s.Close()
		b.has(s, "k", "two")
		b.has(s, "l", "three")
		b.has(s, "m", "four")
	})
}

func TestClustersDoNotMix(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		b := newBench(t)
		s := b.open()
		b.put(s, "k", "one")
		s.Close()
		b.name = strings.Repeat("../é", 64)
		s = b.open()
		require.Zero(t, s.Len())
		b.put(s, "k", "two")
		s.Close()
		s = b.open()
		b.has(s, "k", "two")
		s.Close()
		all, err := os.ReadDir(filepath.Dir(b.dir))
		require.NoError(t, err)
		require.Len(t, all, 1, "something was written outside of the directory")
	})
}
