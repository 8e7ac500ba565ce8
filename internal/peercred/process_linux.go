//go:build !unknownpeers

package peercred

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Process finds the process that holds the peer's socket. It looks at the
// process called hint first, since to look at all takes long; what it finds
// does not depend on the hint. It finds none that is another user's, unless
// this process is privileged, or in another pid namespace.
func (p Peer) Process(hint int) Process {
	if p.PID != 0 {
		found, _ := processOf(p.PID, 0)
		return found
	}
	if p.inode == 0 {
		return Process{}
	}
	if found, ok := processOf(hint, p.inode); ok {
		return found
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if found, ok := processOf(pid, p.inode); ok {
			return found
		}
	}
	return Process{}
}

// processOf describes a process if it holds the socket. Inode 0 stands for one
// that it is known to hold.
func processOf(pid int, inode uint64) (Process, bool) {
	dir := fmt.Sprintf("/proc/%d", pid)
	started := startTime(dir)
	if inode != 0 && !holds(dir, inode) || startTime(dir) != started {
		return Process{PID: pid}, false
	}
	name, _ := os.ReadFile(dir + "/comm")
	return Process{PID: pid, Started: started, Program: strings.TrimSpace(string(name))}, true
}

func holds(dir string, inode uint64) bool {
	f, err := os.Open(dir + "/fd")
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	want := fmt.Sprintf("socket:[%d]", inode)
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		if target, err := os.Readlink(dir + "/fd/" + name); err == nil && target == want {
			return true
		}
	}
	return false
}

// startTime returns when a process was started, 0 when there is none.
func startTime(dir string) uint64 {
	stat, _ := os.ReadFile(dir + "/stat")
	return startIn(stat)
}

// startIn returns field 22 of proc_pid_stat(5), 0 when it is not there.
func startIn(stat []byte) uint64 {
	const field, first = 22, 3 // first behind the name, which may hold anything
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) <= field-first {
		return 0
	}
	t, _ := strconv.ParseUint(fields[field-first], 10, 64)
	return t
}
