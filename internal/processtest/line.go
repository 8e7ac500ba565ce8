package processtest

import (
	"io"
	"net"
	"sync"
)

// A Line is a way to the centre of its own that a process can be given, and
// that can be cut.
type Line struct {
	lis    net.Listener
	to     string
	served sync.WaitGroup

	mu   sync.Mutex // guards what follows
	cut  bool
	ends map[net.Conn]struct{} // of all connections, both
}

// Line returns a way to the world's centre.
func (w *World) Line() *Line {
	w.T.Helper()
	lis, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // it does not block
	if err != nil {
		w.T.Fatal(err)
	}
	l := &Line{lis: lis, to: w.Centre.Address(), ends: map[net.Conn]struct{}{}}
	l.served.Go(l.accept)
	w.T.Cleanup(func() {
		_ = lis.Close()
		l.Cut()
		l.served.Wait()
	})
	return l
}

// Address is where the centre is reached by this way.
func (l *Line) Address() string { return l.lis.Addr().String() }

// Cut ends the connections that there are, and lets no other one come about.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.ends {
		_ = conn.Close()
	}
}

// Mend undoes Cut.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}

func (l *Line) accept() {
	for {
		here, err := l.lis.Accept()
		if err != nil {
			return
		}
		l.served.Go(func() { l.carry(here) })
	}
}

// carry moves bytes both ways until one end is closed.
func (l *Line) carry(here net.Conn) {
	there, err := net.Dial("tcp4", l.to) //nolint:noctx // the centre of a test is there, or refuses
	if err != nil {
		_ = here.Close()
		return
	}
	end := func() { _, _ = here.Close(), there.Close() }
	if !l.keep(here, there) {
		end()
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(here, there)
		end()
	})
	_, _ = io.Copy(there, here)
	end()
	back.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, here)
	delete(l.ends, there)
}

// keep notes a connection, if there may be one.
func (l *Line) keep(ends ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range ends {
		if !l.cut {
			l.ends[conn] = struct{}{}
		}
	}
	return !l.cut
}
