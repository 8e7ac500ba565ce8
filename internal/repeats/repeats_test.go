package repeats_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/repeats"
)

func TestDue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var r repeats.Repeats
		due := func(what string) int {
			if times, due := r.Due(what); due {
				return times
			}
			return 0
		}
		require.Equal(t, 1, due("a"))
		for range 10 {
			require.Zero(t, due("a"))
		}
		require.Equal(t, 1, due("b"), "another thing")
		time.Sleep(repeats.Every)
		require.Equal(t, 11, due("a"))
		require.Zero(t, due("a"))
	})
}

// However many things there are, few are kept, and few are logged.
func TestManyThings(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var r repeats.Repeats
		for range 3 {
			logged := 0
			for i := range 10_000 {
				if _, due := r.Due(strconv.Itoa(i)); due {
					logged++
				}
			}
			require.LessOrEqual(t, logged, 257)
			require.Positive(t, logged)
			time.Sleep(repeats.Every)
		}
	})
}
