//go:build !linux && !darwin && !windows

package lease

import (
	"os"
	"time"
)

// systemClock is the clock on the wall: there is no portable other one that
// processes share. Setting it may make a leader look hung, which is confirmed
// over its session before anything is made of it.
func systemClock() time.Duration { return time.Duration(time.Now().UnixNano()) }

func bootID() string { return "" }

func network() string { return "" }

func self() Process { return Process{PID: os.Getpid()} }

// look knows no process.
func look(Process) State { return Unknown }
