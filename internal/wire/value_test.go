package wire

import (
	"testing"

	"github.com/stretchr/testify/require"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// The hash that came with a value is taken, unless there is none, or the value
// had to be put together.
func TestContentOfAValue(t *testing.T) {
	const told = 12345
	computed := Content("v", false, []byte("data"))
	for name, test := range map[string]struct {
		content uint64
		pieces  int
		want    uint64
	}{
		"told":      {content: told, want: told},
		"not told":  {want: computed},
		"in pieces": {content: told, pieces: 2, want: computed},
	} {
		t.Run(name, func(t *testing.T) {
			frames := []*clusterclientv1.ResponseFrame{{Kind: &clusterclientv1.ResponseFrame_Value{
				Value: &clusterclientv1.Value{Key: "k", Version: []byte("v"), Data: []byte("data"), Content: test.content},
			}}}
			if test.pieces > 0 {
				frames = pieces(t, 1, frames[0], test.pieces)
			}
			f := newFollows(t)
			var got []uint64
			f.r.Values(func(v *Value) { got = append(got, v.Content()) })
			require.NoError(t, f.receive(frames...))
			f.r.Close()
			require.Equal(t, []uint64{test.want}, got)
		})
	}
}
