//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// become makes cmd run as a user.
func become(cmd *exec.Cmd, uid int) {
	who := uint32(uid) //nolint:gosec // it fits
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: who, Gid: who}}
}
