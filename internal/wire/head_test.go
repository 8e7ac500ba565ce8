package wire

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// FuzzHead holds what a leader writes by hand against what generated code does.
func FuzzHead(f *testing.F) {
	f.Add("", "", "", uint64(0), uint64(0), int64(0), int32(0), uint8(0), uint64(0), uint64(0), []byte(nil))
	f.Add("k", "v", "r", uint64(1), uint64(1)<<63, int64(-1), int32(-1), uint8(15), uint64(1)<<63, uint64(300), []byte("data"))
	f.Fuzz(func(t *testing.T, key, version, reason string, term, seq uint64, since int64, origin int32, flags uint8, content, number uint64, data []byte) {
		if !utf8.ValidString(key) || !utf8.ValidString(reason) {
			t.Skip("checked where they come in")
		}
		fresh := &clusterclientv1.Freshness{
			Stale: flags&1 != 0, Since: since, Reason: reason, Origin: clusterclientv1.Origin(origin), Pending: flags&2 != 0, TooLarge: flags&4 != 0,
		}
		h := Head{Key: key, Revision: Revision{term, seq}, Version: version, Deleted: flags&8 != 0, Freshness: fresh, Content: content, Number: number}
		got := append(h.Encode(len(data)), data...)
		want, err := proto.Marshal(&clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{Value: &clusterclientv1.Value{
			Key: key, Revision: h.Revision.ToProto(), Version: []byte(version), Deleted: h.Deleted, Freshness: fresh, Data: data,
			Content: content, Number: number,
		}}})
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}
