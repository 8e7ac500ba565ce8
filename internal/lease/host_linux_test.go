package lease_test

import (
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/lease"
)

func TestLook(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "60")
	require.NoError(t, child.Start())
	self := lease.System().Self
	require.Equal(t, lease.Runs, lease.System().Look(self))

	p := lease.Process{PID: child.Process.Pid, Space: self.Space, Start: 1}
	require.Equal(t, lease.Gone, lease.System().Look(p), "another process has the number now")
	p.Space = "pid:[1]"
	require.Equal(t, lease.Unknown, lease.System().Look(p), "a number of another container")
	p.Space = self.Space
	for p.Start = self.Start; lease.System().Look(p) == lease.Gone; p.Start++ { // it was started soon after this one
		require.Less(t, p.Start, self.Start+100_000)
	}
	require.NoError(t, child.Process.Signal(syscall.SIGSTOP))
	for lease.System().Look(p) != lease.Stopped {
		runtime.Gosched()
	}
	require.NoError(t, child.Process.Kill())
	for lease.System().Look(p) != lease.Gone { // a zombie, until it is waited for
		runtime.Gosched()
	}
	require.Error(t, child.Wait())
	require.Equal(t, lease.Gone, lease.System().Look(p))
}
