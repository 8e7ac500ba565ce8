//go:build !linux

package processtest

import "syscall"

// diesWithParent does nothing here: a child ends when its stdin does.
func diesWithParent() *syscall.SysProcAttr { return nil }
