package soak

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPlanDependsOnItsArgumentsAlone(t *testing.T) {
	limits := Limits{Length: 10 * time.Second, Deposed: 10 * time.Second}
	plan := Plan(7, 3, limits)
	require.Equal(t, plan, Plan(7, 3, limits))
	require.NotEqual(t, plan, Plan(8, 3, limits))
	require.NotEqual(t, plan, Plan(7, 4, limits))
}

func TestPlanHasEveryFault(t *testing.T) {
	limits := Limits{Length: 10 * time.Second, Deposed: 10 * time.Second}
	seen := map[string]int{}
	long, older := 0, 0
	for episode := range 50 {
		at := time.Duration(0)
		for _, s := range Plan(1, episode, limits) {
			require.GreaterOrEqual(t, s.At, at, "%v is out of order", s)
			at = s.At
			seen[s.Op]++
			if s.Op == Stop && s.For > limits.Deposed {
				long++
				require.Equal(t, Leader, s.Target)
			}
			if s.Older {
				older++
			}
		}
	}
	for _, op := range []string{Kill, Terminate, Resign, Stop, Burn, Outage, Hang} {
		require.NotZero(t, seen[op], op)
	}
	require.NotZero(t, long, "leaders stopped until they are replaced")
	require.NotZero(t, older, "outages after which values are older")
}

// Nobody replaces a leader that hangs: then none is stopped for long.
func TestPlanWithoutDeposing(t *testing.T) {
	for episode := range 50 {
		for _, s := range Plan(1, episode, Limits{Length: 10 * time.Second}) {
			require.Less(t, s.For, 5*time.Second, s)
		}
	}
}
