//go:build !linux

package clusterclient_test

import "syscall"

// diesWithParent does nothing here: a child ends when its stdin does.
func diesWithParent() *syscall.SysProcAttr { return nil }
