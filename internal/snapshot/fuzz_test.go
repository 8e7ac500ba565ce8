package snapshot

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzLoad reads what a file may hold. What is found is whole: it lies where it
// is said to, and is found there again.
func FuzzLoad(f *testing.F) {
	record, err := appendRecord(nil, &Value{Key: "k", Data: []byte("v"), Version: "7", Saved: time.Unix(0, 5)})
	require.NoError(f, err)
	gone, err := appendRecord(nil, &Value{Key: "gone", Deleted: true})
	require.NoError(f, err)
	f.Add([]byte(magic + version))
	f.Add(header([16]byte{1, 2, 3}))
	f.Add(append(bytes.Clone(record), gone...))
	f.Add(append(bytes.Clone(record), gone[:len(gone)-1]...))
	f.Add([]byte{0x03, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = checkHeader(data, [16]byte{})
		file := append(header([16]byte{}), data...)
		begin := int64(headerSize)
		end, _ := scan(bytes.NewReader(data), func(v Value, at, size int64) {
			require.Equal(t, begin, at)
			begin += size
			again, err := readRecord(bytes.NewReader(file), entry{at: at, size: size})
			require.NoError(t, err)
			require.Equal(t, v, again)
		})
		require.Equal(t, begin, end)
		require.LessOrEqual(t, end, int64(len(file)))
	})
}

// FuzzOverride reads a file of any name in the directory of overrides.
func FuzzOverride(f *testing.F) {
	for _, name := range []string{"k", "a%2Fb", "%", "%zz", "%ff", "%00", "a b", "ä", ".hidden"} {
		f.Add(name, []byte("v"))
	}
	o := &Overrides{dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		path := filepath.Join(o.dir, name)
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || os.WriteFile(path, data, 0o600) != nil {
			t.Skip("no name of a file")
		}
		defer func() { require.NoError(t, os.Remove(path)) }()
		key, got, err := o.read(name)
		if err != nil {
			return
		}
		require.NotEmpty(t, key)
		require.True(t, utf8.ValidString(key), "key %q", key)
		require.True(t, bytes.Equal(data, got))
		other, err := url.PathUnescape(url.PathEscape(key))
		require.NoError(t, err)
		require.Equal(t, key, other)
	})
}
