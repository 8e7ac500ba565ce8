package lease

import (
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzRecord reads what a file of a lease may hold, with a checksum that fits
// and without.
func FuzzRecord(f *testing.F) {
	whole, err := encode(Record{
		Name: "n", Number: 3, Term: 2, Instance: "i", Process: Process{PID: 1, Start: 2, Space: "pid:[1]"},
		Address: "127.0.0.1:17777", Renewed: 5, Valid: 6, Boot: "b",
	})
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)-10])
	f.Add([]byte(`{"number":1e99,"term":-1}`))
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = decode(text)
		r, ok := decode(fmt.Appendf(nil, "%s\n%08x\n", text, crc32.ChecksumIEEE(text)))
		if !ok {
			return
		}
		again, err := encode(r)
		require.NoError(t, err)
		back, ok := decode(again)
		require.True(t, ok)
		require.Equal(t, r, back)
	})
}
