package inspect_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/inspect"
)

// FuzzReport decodes what a leader tells whoever inspects it, and what a
// follower tells its leader.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"names":[{"name":"n","leader":{"pid":1,"address":"127.0.0.1:1"},"keys":[{"key":"k"}]}]}`))
	f.Add([]byte(`{"keys":[{"key":"k","revision":{"term":1,"sequence":2}}]}`))
	f.Add([]byte(`{"names":[null],"keys":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, into := range []any{new(inspect.Node), new(inspect.Holding)} {
			if json.Unmarshal(data, into) != nil {
				continue
			}
			again, err := json.Marshal(into)
			require.NoError(t, err, "what was decoded from %q", data)
			require.NoError(t, json.Unmarshal(again, into))
		}
	})
}
