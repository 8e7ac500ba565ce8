package lease

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// clockMonotonic is CLOCK_MONOTONIC, the clock that Go's own runs by. It
// stands still while the host sleeps, so that nobody looks hung afterwards.
const clockMonotonic = 1

// Fields of /proc/PID/stat after the program's name, see proc_pid_stat(5).
const (
	statState   = 0
	statThreads = 17
	statStart   = 19
)

func systemClock() time.Duration {
	var ts syscall.Timespec
	//nolint:gosec // the kernel writes the time there
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano())
}

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

func network() string {
	target, _ := os.Readlink("/proc/self/ns/net") // "net:[4026531840]"
	return strings.Trim(strings.TrimPrefix(target, "net:"), "[]")
}

func self() Process {
	p := Process{PID: os.Getpid(), Space: space()}
	if stat, err := stat(p.PID); err == nil {
		p.Start, _ = strconv.ParseUint(stat[statStart], 10, 64)
	}
	return p
}

func space() string {
	target, _ := os.Readlink("/proc/self/ns/pid")
	return target
}

// look returns the state of p as the operating system has it.
func look(p Process) State {
	if p.Space != space() || p.Start == 0 {
		return Unknown
	}
	stat, err := stat(p.PID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Gone
	}
	if err != nil {
		return Unknown
	}
	start, err := strconv.ParseUint(stat[statStart], 10, 64)
	switch {
	case err != nil:
		return Unknown
	case start != p.Start:
		return Gone
	}
	switch state := stat[statState]; {
	case state == "X", state == "Z" && len(stat[statThreads]) == 1 && stat[statThreads] <= "1":
		return Gone // and not only the first of its threads
	case state == "T", state == "t":
		return Stopped
	}
	return Runs
}

// stat returns the fields of /proc/PID/stat after the program's name, which
// may have any characters in it.
func stat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := fieldsOf(text)
	if len(fields) <= statStart {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return fields, nil
}

func fieldsOf(stat []byte) []string {
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}
