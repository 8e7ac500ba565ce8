package mempipe

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// backlog is how many connections wait to be accepted.
const backlog = 128

// A Listener accepts the connections that its Dial makes. It is a
// [net.Listener].
type Listener struct {
	addr    net.Addr
	waiting chan *end     // not accepted yet
	done    chan struct{} // closed with the listener

	mu     sync.Mutex // guards closed, and sending on waiting
	closed bool
}

// Listen returns a Listener at addr, which is only a name.
func Listen(addr net.Addr) *Listener {
	return &Listener{addr: addr, waiting: make(chan *end, backlog), done: make(chan struct{})}
}

// Dial connects to the listener. It fails with an error that is
// syscall.ECONNREFUSED when the listener is closed or has too many waiting.
func (l *Listener) Dial(context.Context) (net.Conn, error) { return l.DialFrom(Addr("dialled")) }

// DialFrom is Dial with an address for the end that dials.
func (l *Listener) DialFrom(from net.Addr) (net.Conn, error) {
	here, there := newPipe(from, l.addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		select {
		case l.waiting <- there:
			return here, nil
		default:
		}
	}
	return nil, &net.OpError{Op: "dial", Net: l.addr.Network(), Addr: l.addr, Err: syscall.ECONNREFUSED}
}

// Accept waits for a connection; it fails with net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case e := <-l.waiting:
		return e, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close refuses connections from now on and ends those that wait.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.done)
	for {
		select {
		case e := <-l.waiting:
			_ = e.Close()
		default:
			return nil
		}
	}
}

// Pass closes the listener and returns another one in its place, which has the
// connections that wait.
func (l *Listener) Pass() *Listener {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := &Listener{addr: l.addr, waiting: l.waiting, done: make(chan struct{}), closed: l.closed}
	if l.closed {
		close(next.done)
		return next
	}
	l.closed = true
	close(l.done)
	return next
}

// Addr returns the name that Listen was given.
func (l *Listener) Addr() net.Addr { return l.addr }

// Addr is the name of one end of a connection.
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

// String returns the name.
func (a Addr) String() string { return string(a) }
