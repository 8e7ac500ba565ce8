package leader

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
)

func TestTurnsKeepTheOrderInWhichTheyWereTaken(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var all turns
		id := regID{"owner", 1}
		first, second, third := all.take(id), all.take(id), all.take(id)
		var order []int
		done := make(chan struct{})
		go func() {
			defer close(done)
			require.NoError(t, third.wait(t.Context()))
			order = append(order, 3)
			third.end()
		}()
		require.NoError(t, all.take(regID{"owner", 2}).wait(t.Context()), "another registration")

		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		require.ErrorIs(t, second.wait(given), context.Canceled)
		second.end() // it never ran, and lets nobody pass the first
		synctest.Wait()
		require.Empty(t, order, "the third began before the first had ended")

		require.NoError(t, first.wait(t.Context()))
		order = append(order, 1)
		first.end()
		<-done
		require.Equal(t, []int{1, 3}, order)
		synctest.Wait()
		require.NotContains(t, all.last, id, "turns that are over")
	})
}
