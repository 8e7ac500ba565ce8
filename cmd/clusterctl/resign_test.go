package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResign(t *testing.T) {
	for _, command := range []string{"resign", "depose"} {
		t.Run(command, func(t *testing.T) {
			tl, w := begin(t)
			all := w.Start(3)
			leads, _ := w.Settled(0, all)
			require.Contains(t, tl.must(t, exitUsage, command).errs, "-yes", "nothing is changed by mistake")
			r := decode[resignReport](t, tl, exitOK, command, "-yes")
			require.Equal(t, leads.PID, r.Was.PID)
			require.NotNil(t, r.Now)
			require.Greater(t, r.Now.Term, r.Term)
			next, _ := w.Settled(r.Term, all)
			require.NotEqual(t, leads, next)
			require.Equal(t, next.PID, r.Now.Leader.PID)
		})
	}
}

// Nobody is left without a leader by good order; by force one is.
func TestResignWithoutASuccessor(t *testing.T) {
	tl, w := begin(t)
	lone := w.Start(1)[0]
	require.Contains(t, tl.must(t, exitFailed, "resign", "-yes").errs, "could lead")
	r := decode[resignReport](t, tl, exitOK, "depose", "-yes", "-timeout", "20s")
	require.Equal(t, lone.PID, r.Now.Leader.PID, "who yields for a while leads again when nobody else does")
}
