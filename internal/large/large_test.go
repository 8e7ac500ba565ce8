package large_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/large"
)

var sizes = []int{0, 1, 64 << 10, 64<<10 + 1, 1 << 20, 1<<20 + 3}

func TestClone(t *testing.T) {
	require.Nil(t, large.Clone(nil))
	require.NotNil(t, large.Clone([]byte{}))
	for _, size := range sizes {
		b := pattern(size)
		c := large.Clone(b)
		require.True(t, bytes.Equal(b, c), "a copy of %d bytes", size)
		if size > 0 {
			c[size-1]++
			require.True(t, bytes.Equal(b, pattern(size)), "the original of %d bytes after its copy was changed", size)
		}
	}
}

func TestEqual(t *testing.T) {
	for _, size := range sizes {
		a, b := pattern(size), pattern(size)
		require.True(t, large.Equal(a, b), "%d bytes", size)
		require.False(t, large.Equal(a, append(b, 0)), "%d bytes and one more", size)
		for _, i := range []int{0, size / 2, size - 1} {
			if size > 0 {
				b[i]++
				require.False(t, large.Equal(a, b), "%d bytes, of which byte %d differs", size, i)
				b[i]--
			}
		}
	}
}

func TestBuffer(t *testing.T) {
	require.Zero(t, (*large.Buffer)(nil).Len(), "of a nil Buffer")
	for _, size := range sizes {
		want := pattern(size)
		b := large.NewBuffer(size)
		require.GreaterOrEqual(t, b.Cap(), size)
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 100_000)
			b.Write(rest[:n])
			rest = rest[n:]
			require.Equal(t, size-len(rest), b.Len())
		}
		got := b.Bytes()
		require.True(t, bytes.Equal(want, got), "%d bytes", size)
		if size > 0 { // it is memory like any other
			got[0]++
			require.NotEqual(t, want[0], got[0])
		}
	}
}

func BenchmarkClone(b *testing.B) {
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		_ = large.Clone(data)
	}
}

func pattern(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}
