package clusterclient

import (
	"net"
	"sync"
	"syscall"
)

// highDescriptor is a number that the descriptors of connections seldom reach,
// and within the limit that every process has.
const highDescriptor = 1000

// expectToListen prepares for freedFirst. The first high descriptor of a
// process makes the kernel enlarge its table, for which it waits some
// milliseconds until no processor looks at the old one (synchronize_rcu).
// That is not to happen at a takeover.
func expectToListen() {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = syscall.Close(fd) }()
	if high, ok := duplicateHigh(uintptr(fd)); ok {
		_ = syscall.Close(high)
	}
}

// freedFirst returns a listener whose port is free before the process's
// connections end when the process is killed. Whoever loses its connection
// tries the port at once, and finds it free; else it would try again and again
// beside a process that needs the processor to die.
//
// Linux closes the descriptors of such a process from the lowest to the highest,
// but does what follows for a socket, once its last descriptor is closed, in
// the opposite order (task_work_run). So the listener has a second descriptor,
// a high one. Without it everything works, but a takeover takes longer.
func freedFirst(lis net.Listener) net.Listener {
	tcp, ok := lis.(*net.TCPListener)
	if !ok {
		return lis
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return lis
	}
	var high int
	err = raw.Control(func(fd uintptr) { high, ok = duplicateHigh(fd) })
	if err != nil || !ok {
		return lis
	}
	return &highListener{TCPListener: tcp, high: high}
}

func duplicateHigh(fd uintptr) (high int, ok bool) {
	n, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, highDescriptor)
	return int(n), errno == 0
}

// A highListener has a second descriptor.
type highListener struct {
	*net.TCPListener
	high int
	once sync.Once
}

func (l *highListener) Close() error {
	l.once.Do(func() { _ = syscall.Close(l.high) })
	return l.TCPListener.Close()
}
