package holder

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// listening is the state TCP_LISTEN in /proc/net/tcp, see proc_net_tcp(5).
const listening = "0A"

// Find returns the process that listens on a TCP port of an IPv4 address of
// this host. It is false when there is none or when this process may not see
// it: that of another user, or in another pid namespace.
func Find(port int) (Process, bool) {
	inode, ok := inodeOf(port)
	if !ok {
		return Process{}, false
	}
	want := "socket:[" + inode + "]"
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err != nil || target != want {
			continue
		}
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return Process{PID: pid, Program: strings.TrimSpace(string(name))}, true
	}
	return Process{}, false
}

// inodeOf returns the inode of the socket that listens on port.
func inodeOf(port int) (string, bool) {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		col := strings.Fields(lines.Text())
		if len(col) > 9 && strings.HasSuffix(col[1], suffix) && col[3] == listening {
			return col[9], true
		}
	}
	return "", false
}
