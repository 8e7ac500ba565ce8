package main

import (
	"bytes"
	"fmt"
	"os"
)

// ephemeralPorts returns the range from which the system takes ports for
// outgoing connections.
func ephemeralPorts() (low, high int, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return 0, 0, false
	}
	n, err := fmt.Sscan(string(text), &low, &high)
	return low, high, err == nil && n == 2
}

// stopped reports whether a process is stopped by a signal or a debugger, see
// proc_pid_stat(5).
func stopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	rest := bytes.TrimSpace(stat[bytes.LastIndexByte(stat, ')')+1:])
	return len(rest) > 0 && (rest[0] == 'T' || rest[0] == 't')
}
