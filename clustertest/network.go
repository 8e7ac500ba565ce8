package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/mempipe"
)

// firstEphemeral is the first port given to a listener on port 0.
const firstEphemeral = 40000

// A Network is the loopback interface of a host in memory. The zero Network is
// ready to use.
type Network struct {
	// Dir is the runtime directory that the host's processes share, see
	// clusterclient.WithRuntimeDir; empty for none. Set it before the first
	// client is created.
	Dir string

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
		return nil, &net.OpError{Op: "listen", Net: "mem", Addr: mempipe.Addr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{Listener: mempipe.Listen(mempipe.Addr(address)), h: h, address: address}
	if l.end, err = h.track(func() { _ = l.free() }); err != nil {
		return nil, err
	}
	if h.n.listeners == nil {
		h.n.listeners = make(map[string]*listener)
	}
	h.n.listeners[address] = l
	return l, nil
}

// RuntimeDir returns the directory that the processes of the host share. One
// that was killed has it no more.
func (h *Host) RuntimeDir() (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.killed:
		return "", ErrKilled
	case h.n.Dir == "":
		return "", errNoDir
	}
	return h.n.Dir, nil
}

var errNoDir = errors.New("clustertest: the host has no runtime directory")

// Dial connects to whoever listens on address.
func (h *Host) Dial(ctx context.Context, address string) (net.Conn, error) {
	h.n.mu.Lock()
	l := h.n.listeners[address]
	h.n.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: mempipe.Addr(address), Err: syscall.ECONNREFUSED}
	}
	c, err := l.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return h.conn(c)
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
	*mempipe.Listener
	h       *Host
	address string
	end     func()
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.h.conn(c)
}

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
	return l.Listener.Close()
}
