package codec_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/codec"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
)

// FuzzUnmarshal decodes whatever a peer sends. Errors go to logs: they must not
// tell the data, of which every Z stands for a piece that would be recognised.
func FuzzUnmarshal(f *testing.F) {
	const private = "s3cr3t-v4lu3"
	f.Add([]byte(`{"name":"Z","age":1,"of":{"Z":{"age":"Z"}},"more":[1,"Z"]}`))
	f.Add([]byte(`{"age":Z}`))
	f.Add([]byte(`{"age":12345678901234567890,"name":{"Z":1}}`))
	f.Add([]byte("\"Z"))
	f.Add([]byte("\n\x03Zxy"))
	type owner struct {
		Name string
		Age  int
		Of   map[string]owner
		More []string
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.ReplaceAll(data, []byte("Z"), []byte(private))
		before := bytes.Clone(data)
		for _, into := range []any{new(owner), new(string), new(int), new(any), new([]byte), new(testprotov1.EchoRequest)} {
			c := codec.For(into, codec.JSON)
			if err := c.Unmarshal(data, into); err != nil {
				require.NotContains(t, err.Error(), private)
				continue
			}
			again, err := c.Marshal(into)
			require.NoError(t, err, "what was decoded from %q into %T", data, into)
			require.NoError(t, c.Unmarshal(again, into))
		}
		require.Equal(t, before, data, "decoding changed the data")
	})
}
