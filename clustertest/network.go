package clustertest

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/clusterclient/clusterclient"
)

const (
	// firstEphemeral is the first port given to a listener on port 0.
	firstEphemeral = 40000

	// bufferSize is how much one direction of a connection holds.
	bufferSize = 1 << 20

	// backlog is how many connections wait to be accepted.
	backlog = 128
)

// A Network is the loopback interface of a host in memory. The zero Network is
// ready to use.
type Network struct {
	mu        sync.Mutex // guards what follows
	listeners map[string]*listener
	ports     int
}

// A Host is the network as one process sees it. It is a
// [clusterclient.Network].
type Host struct {
	n *Network

	mu     sync.Mutex // guards what follows
	killed bool
	ends   map[int]func() // close what the process has open
	next   int
}

var _ clusterclient.Network = (*Host)(nil)

// Host returns the network for one more process.
func (n *Network) Host() *Host { return &Host{n: n, ends: make(map[int]func())} }

// Listen binds address, unless somebody has.
func (h *Host) Listen(_ context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if port == "0" {
		h.n.ports++
		address = net.JoinHostPort(host, fmt.Sprint(firstEphemeral+h.n.ports))
	}
	if h.n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: memAddr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{h: h, address: address, waiting: make(chan *end, backlog), done: make(chan struct{})}
	if l.end, err = h.track(func() { _ = l.free() }); err != nil {
		return nil, err
	}
	if h.n.listeners == nil {
		h.n.listeners = make(map[string]*listener)
	}
	h.n.listeners[address] = l
	return l, nil
}

// Dial connects to whoever listens on address.
func (h *Host) Dial(_ context.Context, address string) (net.Conn, error) {
	h.n.mu.Lock()
	l := h.n.listeners[address]
	h.n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: "mem", Addr: memAddr(address), Err: syscall.ECONNREFUSED}
	if l == nil {
		return nil, refused
	}
	here, there := newPipe(memAddr("dialled"), memAddr(address))
	if !l.offer(there) {
		return nil, refused
	}
	return h.conn(here)
}

// Kill closes all that the process has open, as the kernel does when it dies,
// and lets it open nothing any more.
func (h *Host) Kill() {
	h.mu.Lock()
	h.killed = true
	ends := h.ends
	h.ends = nil
	h.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// track makes Kill call end, until the function it returns is called.
func (h *Host) track(end func()) (forget func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.killed {
		return nil, &net.OpError{Op: "open", Net: "mem", Err: syscall.ENETDOWN}
	}
	id := h.next
	h.next++
	h.ends[id] = end
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.ends, id)
	}, nil
}

func (h *Host) conn(c net.Conn) (net.Conn, error) {
	forget, err := h.track(func() { _ = c.Close() })
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &conn{Conn: c, forget: forget}, nil
}

// conn is a connection that the host knows of.
type conn struct {
	net.Conn
	forget func()
}

func (c *conn) Close() error {
	c.forget()
	return c.Conn.Close()
}

// listener frees its address when it is closed.
type listener struct {
	h       *Host
	address string
	end     func()
	waiting chan *end     // not accepted yet
	done    chan struct{} // closed with the listener

	mu     sync.Mutex // guards closed, and sending on waiting
	closed bool
}

// offer makes e wait to be accepted; false when nobody will.
func (l *listener) offer(e *end) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	select {
	case l.waiting <- e:
		return true
	default:
		return false
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case e := <-l.waiting:
		return l.h.conn(e)
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return memAddr(l.address) }

func (l *listener) Close() error {
	l.end()
	return l.free()
}

func (l *listener) free() error {
	l.h.n.mu.Lock()
	if l.h.n.listeners[l.address] == l {
		delete(l.h.n.listeners, l.address)
	}
	l.h.n.mu.Unlock()
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

type memAddr string

func (memAddr) Network() string  { return "mem" }
func (a memAddr) String() string { return string(a) }
