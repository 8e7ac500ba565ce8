package lease

import (
	"encoding/binary"
	"os"
	"strconv"
	"syscall"
	"time"
)

// systemClock is the time since boot. The system moves the time of the boot
// along when somebody sets the clock.
func systemClock() time.Duration { return time.Since(booted()) }

// booted returns the time of the boot as the system has it now.
func booted() time.Time {
	value, err := syscall.Sysctl("kern.boottime") // a struct timeval
	if err != nil || len(value) < 12 {
		return time.Time{}
	}
	b := []byte(value)
	return time.Unix(int64(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint32(b[8:]))*1000)
}

// bootID is empty: the time of the boot is no name for it, since it moves. A
// lease from before looks expired soon, or was renewed later than now.
func bootID() string { return "" }

func network() string { return "" }

func self() Process { return Process{PID: os.Getpid(), Space: strconv.Itoa(os.Getuid())} }

// look returns whether there is a process with p's number.
func look(p Process) State {
	switch err := syscall.Kill(p.PID, 0); err {
	case nil:
		return Runs
	case syscall.ESRCH:
		return Gone
	}
	return Unknown
}
