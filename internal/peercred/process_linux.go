//go:build !unknownpeers

package peercred

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
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
	dir := "/proc/" + strconv.Itoa(pid)
	stat := smallFile(dir + "/stat")
	found := Process{PID: pid, Started: startIn(stat), Program: programIn(stat)}
	if inode != 0 && (!holds(dir, inode) || startTime(dir) != found.Started) {
		return Process{PID: pid}, false
	}
	return found, true
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
	return startIn(smallFile(dir + "/stat"))
}

// programIn returns field 2 of proc_pid_stat(5), which may hold anything.
func programIn(stat []byte) string {
	first, last := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if first < 0 || last < first {
		return ""
	}
	return string(stat[first+1 : last])
}

// startIn returns field 22 of proc_pid_stat(5), 0 when it is not there.
func startIn(stat []byte) uint64 {
	const field, first = 22, 3 // first behind the name, which may hold anything
	i := first
	for value := range bytes.FieldsSeq(stat[bytes.LastIndexByte(stat, ')')+1:]) {
		if i == field {
			t, _ := strconv.ParseUint(string(value), 10, 64)
			return t
		}
		i++
	}
	return 0
}

// smallFile returns what a file in /proc holds, which the kernel makes in one
// piece when it is read; nil if there is none. It costs half of what
// [os.ReadFile] does, and is asked of every follower that comes after a
// takeover.
func smallFile(path string) []byte {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = syscall.Close(fd) }()
	text := make([]byte, 1<<10)
	for {
		n, err := syscall.Read(fd, text)
		if err != syscall.EINTR {
			return text[:max(n, 0)]
		}
	}
}
