package lease

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzStat reads what /proc/PID/stat may hold, whatever a process calls itself.
func FuzzStat(f *testing.F) {
	f.Add("x", uint64(77))
	f.Add(") Z 1 (", uint64(0))
	f.Fuzz(func(t *testing.T, name string, started uint64) {
		fields := fieldsOf(fmt.Appendf(nil, "12 (%s) S 1 12 12 0 -1 4194304 0 0 0 0 1 1 0 0 20 0 1 0 %d 4096 100", name, started))
		require.Greater(t, len(fields), statStart)
		require.Equal(t, "S", fields[statState])
		require.Equal(t, fmt.Sprint(started), fields[statStart])
		_ = fieldsOf([]byte(name))
	})
}
