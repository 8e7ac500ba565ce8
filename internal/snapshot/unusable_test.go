package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

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
