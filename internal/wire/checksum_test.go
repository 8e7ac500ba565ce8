package wire_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// The order does not matter, and all that a value has does.
func TestChecksum(t *testing.T) {
	rev := wire.Revision{Term: 1, Seq: 2}
	one := wire.HashName("a").Print(rev, wire.Content("v", false, []byte("data")))
	others := []uint64{
		wire.HashName("b").Print(rev, wire.Content("v", false, []byte("data"))),
		wire.HashName("a").Print(wire.Revision{Term: 2, Seq: 1}, wire.Content("v", false, []byte("data"))),
		wire.HashName("a").Print(rev, wire.Content("w", false, []byte("data"))),
		wire.HashName("a").Print(rev, wire.Content("v", true, nil)),
		wire.HashName("a").Print(rev, wire.Content("v", false, []byte("date"))),
		wire.HashName("a").Print(rev, wire.Content("v", false, nil)),
	}
	var there wire.Checksum
	there.Replace(0, one)
	for i, other := range others {
		var here wire.Checksum
		here.Replace(0, other)
		require.False(t, here.Is(there.ToProto(0)), "%d", i)
		here.Replace(0, one)
		require.Equal(t, uint64(2), here.Keys())
		here.Replace(other, 0)
		require.True(t, here.Is(there.ToProto(0)), "%d", i)
	}
}

func TestContent(t *testing.T) {
	require.Equal(t, wire.Content("1", true, nil), wire.Content("2", true, nil), "deletions are equal")
	data := bytes.Repeat([]byte("x"), 1<<20)
	before := wire.Content("1", false, data)
	data[len(data)-1]++
	require.NotEqual(t, before, wire.Content("1", false, data))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		wire.HashName("a key that is longer than 32 bytes, as many are").Print(wire.Revision{}, wire.Content("version", false, data))
	}))
}
