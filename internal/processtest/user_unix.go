//go:build unix

package processtest

import (
	"os"
	"strconv"
	"syscall"
)

// userEnv tells the test binary which user to become.
const userEnv = "CLUSTERCLIENT_TEST_USER"

// become makes this process one of another user, for good.
func become(uid string) {
	if uid == "" {
		return
	}
	n, err := strconv.Atoi(uid)
	if err == nil {
		err = syscall.Setgroups(nil)
	}
	if err == nil {
		err = syscall.Setgid(n)
	}
	if err == nil {
		err = syscall.Setuid(n)
	}
	if err != nil {
		panic(err)
	}
	_ = os.Unsetenv(userEnv)
}
