//go:build !race

package rawio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Wrap returns conn with Read and Write of this package if it is a socket, and
// else conn itself. Errors are those that conn would return.
func Wrap(conn net.Conn) net.Conn {
	switch conn.(type) {
	case *net.UnixConn, *net.TCPConn:
	default:
		return conn
	}
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return conn
	}
	c := &rawConn{Conn: conn}
	c.in = transfer{number: syscall.SYS_READ, wait: raw.Read}
	c.out = transfer{number: syscall.SYS_WRITE, wait: raw.Write}
	c.in.try, c.out.try = c.in.call, c.out.call
	c.out.once = func(fd uintptr) bool { c.out.call(fd); return true }
	return c
}

// A rawConn is a socket. Package net has made it one that does not block, and
// waits for it to be ready.
type rawConn struct {
	net.Conn
	in, out transfer
}

// Read reads what there is, and waits when there is nothing.
func (c *rawConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.in.mu.Lock()
	n, err := c.in.doLocked(p)
	c.in.mu.Unlock()
	switch {
	case err != nil:
		return 0, c.explain("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write writes all of p, and waits for room.
func (c *rawConn) Write(p []byte) (n int, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for n < len(p) {
		m, err := c.out.doLocked(p[n:])
		n += m
		if err != nil {
			return n, c.explain("write", err)
		}
	}
	return n, nil
}

// WriteNow writes what the socket has room for. It writes nothing while a Write
// waits.
func (c *rawConn) WriteNow(p []byte) int {
	if len(p) == 0 || !c.out.mu.TryLock() {
		return 0
	}
	defer c.out.mu.Unlock()
	return c.out.doNowLocked(p)
}

// explain returns err as package net words it.
func (c *rawConn) explain(op string, err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		err = os.NewSyscallError(op, err)
	}
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// A transfer is one direction of a socket.
type transfer struct {
	number uintptr                               // of the system call
	wait   func(try func(fd uintptr) bool) error // tries again when the socket is ready
	try    func(fd uintptr) bool                 // call, made into a function once
	once   func(fd uintptr) bool                 // the same, and never again

	mu  sync.Mutex // held while one Read or Write lasts; guards what follows
	p   []byte
	n   int
	err error
}

// doLocked makes the system call once with p, when the socket is ready for it.
func (t *transfer) doLocked(p []byte) (int, error) {
	t.p, t.n, t.err = p, 0, nil
	err := t.wait(t.try)
	t.p = nil
	if err == nil {
		err = t.err
	}
	return t.n, err
}

// doNowLocked makes the system call once with p, ready or not.
func (t *transfer) doNowLocked(p []byte) int {
	t.p, t.n, t.err = p, 0, nil
	_ = t.wait(t.once)
	t.p = nil
	return t.n
}

// call makes the system call. It is false when the socket is not ready.
func (t *transfer) call(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(t.number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)))
		switch errno {
		case 0:
			t.n = int(n)
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			t.err = errno
			return true
		}
	}
}
