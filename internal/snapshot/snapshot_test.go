package snapshot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
