//go:build !race

package gate

import (
	"net"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

// However many say a whole hello, few of them make the leader hold what package
// tls takes for that.
func TestCrewHoldsLittle(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const times = 256
		a := newAccepting(t)
		var conns []net.Conn
		for range times {
			conns = append(conns, a.come(t.Context(), 1))
		}
		synctest.Wait()
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, conn := range conns {
			_, err := conn.Write(a.hello) // which mempipe holds, as the kernel would
			require.NoError(t, err)
		}
		synctest.Wait()
		runtime.GC()
		runtime.ReadMemStats(&after)
		held := int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)
		taken := int64(after.TotalAlloc - before.TotalAlloc)
		t.Logf("%d strangers make %d bytes be held, and %d be allocated", times, held, taken)
		assert.Less(t, held, int64(maxHandshakes*48<<10+times*4<<10))
		assert.Less(t, taken, int64(maxHandshakes*96<<10+times*4<<10))
		assert.EqualValues(t, times, a.at.Load(), "still there, for it is not late")
		for _, conn := range conns {
			require.NoError(t, conn.Close())
		}
		a.all.Wait()
	})
}
