package clusterclient_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/follower"
)

// What validates may look at the subscription itself, to compare with the last
// good value.
func TestValidationThatLooks(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "long enough")
		var sub *follower.Subscription
		sub = mustSubscribe(t, e.Client, "k", follower.Validate(func(v follower.Value) error {
			if last, ok := sub.Value(); ok && len(v.Data) < len(last.Data)/2 {
				return fmt.Errorf("less than half of %q", last.Data)
			}
			return nil
		}))
		mustYield(t, sub, "long enough")
		e.Up.Set("k", "no")
		mustStayQuiet(t, sub)
		require.ErrorContains(t, mustBeStale(t, sub).Reason, `less than half of "long enough"`)
		e.Up.Set("k", "longer")
		mustYield(t, sub, "longer")
	})
}

// While a value is being validated nobody but who does it waits for that.
func TestValidationThatTakesLong(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		e.Up.Set("k", "good")
		e.Up.Set("other", "good")
		slow := follower.Validate(func(v follower.Value) error {
			if string(v.Data) == "slow" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		sub := mustSubscribe(t, e.Client, "k", slow)
		set, err := e.Client.SubscribeAll(t.Context(), []string{"k", "other"}, slow)
		require.NoError(t, err)
		mustYield(t, sub, "good")
		for range 2 {
			_, err = set.Next(t.Context())
			require.NoError(t, err)
		}
		e.Up.Set("k", "slow")
		synctest.Wait()
		began := time.Now()
		go sub.Value()
		go set.Value("k")
		synctest.Wait()

		for _, value := range []func() (follower.Value, bool){sub.Value, func() (follower.Value, bool) { return set.Value("k") }} {
			v, ok := value()
			require.True(t, ok)
			require.Equal(t, "good", string(v.Data), "Value, while the newest one is validated")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = sub.Next(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		e.Up.Set("other", "better")
		v, err := set.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "better", string(v.Data))
		require.Equal(t, time.Second, time.Since(began))

		mustYield(t, sub, "slow")
		v, err = set.Next(t.Context())
		require.NoError(t, err)
		require.Equal(t, "slow", string(v.Data))
		require.Equal(t, time.Minute, time.Since(began))
	})
}
