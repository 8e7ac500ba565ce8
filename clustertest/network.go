package clustertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/internal/mempipe"
	"github.com/clusterclient/clusterclient/internal/peercred"
	"github.com/clusterclient/clusterclient/internal/rawio"
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

	// Unknown makes the network tell nobody who is at the other end of a
	// connection, as the system does for TCP on macOS, on Windows and in some
	// sandboxes. The clients then prove to each other that they know a secret
	// in the runtime directory. Set it before the first client is created.
	Unknown bool

	mu        sync.Mutex // guards what follows
	listeners map[string]*listener
	ports     int
	hosts     []*Host
	places    map[string]*place
}

// A Host is the network as one process sees it. It is a
// [clusterclient.Network].
type Host struct {
	n    *Network
	pid  int
	self peercred.Peer

	mu     sync.Mutex // guards what follows
	killed bool
	frozen chan struct{}  // nil, or closed when the process goes on
	ends   map[int]func() // close what the process has open
	next   int
}

var _ clusterclient.Network = (*Host)(nil)

// Host returns the network for one more process, of the user that the test
// runs as.
func (n *Network) Host() *Host { return n.HostOf(os.Geteuid()) }

// HostOf is Host for a process of the user uid.
func (n *Network) HostOf(uid int) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := &Host{n: n, pid: len(n.hosts) + 1, self: peercred.Simulate(uid, os.Getpid()), ends: make(map[int]func())}
	n.hosts = append(n.hosts, h)
	return h
}

// PID returns the number of the process, from 1 in the order of creation.
func (h *Host) PID() int { return h.pid }

// Alive reports whether the process called pid was not killed.
func (h *Host) Alive(pid int) bool {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	return pid > 0 && pid <= len(h.n.hosts) && !h.n.hosts[pid-1].isKilled()
}

func (h *Host) isKilled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.killed
}

// Freeze stops the process as SIGSTOP does: it neither sends nor receives, nor
// touches the runtime directory, and its connections and ports stay as they
// are. Its clock goes on.
func (h *Host) Freeze() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.frozen == nil {
		h.frozen = make(chan struct{})
	}
}

// Thaw lets the process go on.
func (h *Host) Thaw() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.frozen != nil {
		close(h.frozen)
		h.frozen = nil
	}
}

func (h *Host) isFrozen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.frozen != nil
}

// wait returns when the process runs.
func (h *Host) wait() {
	for {
		h.mu.Lock()
		frozen := h.frozen
		h.mu.Unlock()
		if frozen == nil {
			return
		}
		<-frozen
	}
}

// Listen binds address, unless somebody has.
func (h *Host) Listen(_ context.Context, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	h.wait()
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
	h.wait()
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

// Vouches reports whether the network tells who is at the other end.
func (h *Host) Vouches() bool { return !h.n.Unknown }

// Now is a clock that all processes of the host share.
func (h *Host) Now() time.Duration { return time.Duration(time.Now().UnixNano()) }

var errNoDir = errors.New("clustertest: the host has no runtime directory")

// Dial connects to whoever listens on address.
func (h *Host) Dial(_ context.Context, address string) (net.Conn, error) {
	h.wait()
	h.n.mu.Lock() // until it waits to be accepted: the listener may change hands
	l := h.n.listeners[address]
	if l == nil {
		h.n.mu.Unlock()
		return nil, &net.OpError{Op: "dial", Net: "mem", Addr: mempipe.Addr(address), Err: syscall.ECONNREFUSED}
	}
	c, err := l.DialFrom(dialler{mempipe.Addr("dialled"), h})
	h.n.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return h.conn(c, l.h)
}

// Kill closes all that the process has open, as the kernel does when it dies,
// and lets it open nothing any more.
func (h *Host) Kill() {
	h.mu.Lock()
	h.killed = true
	ends := h.ends
	h.ends = nil
	h.mu.Unlock()
	h.Thaw() // what still runs of it gets nowhere
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

func (h *Host) conn(c net.Conn, other *Host) (net.Conn, error) {
	forget, err := h.track(func() { _ = c.Close() })
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	known := &conn{Conn: c, h: h, forget: forget, own: h.self, other: other.self}
	if h.n.Unknown {
		return struct{ net.Conn }{known}, nil // without Ends
	}
	return known, nil
}

// conn is a connection that the host knows of.
type conn struct {
	net.Conn
	h          *Host
	forget     func()
	own, other peercred.Peer
}

// Ends tells who is at either end, as the system does of real connections.
func (c *conn) Ends() (own, other peercred.Peer) { return c.own, c.other }

// dialler is the address of an end, which tells whose it is.
type dialler struct {
	mempipe.Addr
	h *Host
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.h.wait()
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.h.wait()
	return c.Conn.Write(p)
}

// WriteNow writes as much of p as the network takes, and nothing while the
// process is stopped.
func (c *conn) WriteNow(p []byte) int {
	w, ok := c.Conn.(rawio.NowWriter)
	if !ok || c.h.isFrozen() {
		return 0
	}
	return w.WriteNow(p)
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
	return l.h.conn(c, c.RemoteAddr().(dialler).h)
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
