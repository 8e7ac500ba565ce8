package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the worker when the supervisor is killed
// and can do nothing any more. The worker would end anyway, since its input
// ends; but one that hangs would not.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
