package leader

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// keeps returns how many of the questions 0 to n-1 are answered.
func keeps(rs *results, n int, now time.Time) (kept int) {
	for i := range n {
		if _, ok := rs.get(question{byte(i), byte(i >> 8)}, now); ok {
			kept++
		}
	}
	return kept
}

func TestResultsAreBounded(t *testing.T) {
	start := time.Now()
	for _, test := range []struct{ size, put, want int }{
		{100, maxResults + 10, maxResults},
		{maxResultBytes / 4, 10, 4},
		{maxResultBytes + 1, 10, 0},
	} {
		rs := results{keep: time.Minute}
		payload := make([]byte, test.size)
		for i := range test.put {
			rs.put(question{byte(i), byte(i >> 8)}, &wire.Reply{Payload: payload}, start)
		}
		require.Equal(t, test.want, keeps(&rs, test.put, start), "kept of %d results of %d bytes", test.put, test.size)
		require.Zero(t, keeps(&rs, test.put, start.Add(time.Minute)), "kept when their time is over")
		require.Zero(t, rs.bytes)
		require.Empty(t, rs.byKey)
	}
}

// A question that is answered again, since both runs were under way, is kept
// until the later answer's time is over.
func TestResultPutTwice(t *testing.T) {
	rs := results{keep: time.Minute}
	start := time.Now()
	rs.put(question{}, &wire.Reply{Code: 0}, start)
	rs.put(question{}, &wire.Reply{Code: 0}, start.Add(time.Second))
	require.Equal(t, 1, keeps(&rs, 1, start.Add(time.Minute)))
	require.Zero(t, keeps(&rs, 1, start.Add(time.Minute+time.Second)))
}
