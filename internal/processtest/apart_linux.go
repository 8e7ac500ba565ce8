package processtest

import (
	"os"
	"runtime"
	"syscall"
)

// apartEnv tells the test binary to leave the host's network.
const apartEnv = "CLUSTERCLIENT_TEST_APART"

// depart makes this process one in a network namespace of its own. That is a
// matter of each thread: the binary is started again by one that is there.
func depart(yes string) {
	if yes == "" {
		return
	}
	runtime.LockOSThread()
	_ = os.Unsetenv(apartEnv)
	err := syscall.Unshare(syscall.CLONE_NEWNET)
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ()) //nolint:gosec // it is this binary
	}
	panic(err)
}
