// Package mempipe has connections within a process. They work in a bubble of
// testing/synctest.
package mempipe

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// bufferSize is how much a direction holds that was not read yet.
const bufferSize = 1 << 20

// newPipe returns the two ends of a connection. Each direction holds what was
// written and not read yet, up to bufferSize.
//
// It is not gRPC's bufconn: that one sets timers which fire at once, and those
// make the race detector crash now and then in a bubble of testing/synctest.
func newPipe(a, b net.Addr) (dialled, accepted *end) {
	there, back := newFlow(), newFlow()
	return &end{in: back, out: there, local: a, remote: b}, &end{in: there, out: back, local: b, remote: a}
}

// end is one end of a pipe. It is a [net.Conn].
type end struct {
	in, out       *flow
	local, remote net.Addr
	read, write   deadline
}

func (e *end) Read(p []byte) (int, error) {
	for {
		n, changed, err := e.in.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-changed:
		case <-e.read.passed():
			return 0, os.ErrDeadlineExceeded
		}
	}
}

func (e *end) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		select {
		case <-e.write.passed():
			return written, os.ErrDeadlineExceeded
		default:
		}
		n, changed, err := e.out.put(p)
		written, p = written+n, p[n:]
		if err != nil {
			return written, err
		}
		if n > 0 {
			continue
		}
		select {
		case <-changed:
		case <-e.write.passed():
		}
	}
	return written, nil
}

// WriteNow writes as much of p as there is room for.
func (e *end) WriteNow(p []byte) int {
	n, _, _ := e.out.put(p)
	return n
}

// Close lets the other end read what was written before.
func (e *end) Close() error {
	e.out.close(false)
	e.in.close(true)
	return nil
}

func (e *end) LocalAddr() net.Addr  { return e.local }
func (e *end) RemoteAddr() net.Addr { return e.remote }

func (e *end) SetDeadline(t time.Time) error {
	e.read.set(t)
	e.write.set(t)
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.read.set(t)
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.write.set(t)
	return nil
}

// flow is one direction of a pipe.
type flow struct {
	mu       sync.Mutex // guards what follows
	data     []byte
	noWriter bool
	noReader bool
	changed  chan struct{} // closed and replaced when any of these changes
}

func newFlow() *flow { return &flow{changed: make(chan struct{})} }

func (f *flow) take(p []byte) (n int, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.noReader:
		return 0, nil, io.ErrClosedPipe
	case len(f.data) > 0:
		n = copy(p, f.data)
		f.data = f.data[n:]
		f.announceLocked()
		return n, nil, nil
	case f.noWriter:
		return 0, nil, io.EOF
	}
	return 0, f.changed, nil
}

func (f *flow) put(p []byte) (n int, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.noReader || f.noWriter {
		return 0, nil, io.ErrClosedPipe
	}
	if n = min(len(p), bufferSize-len(f.data)); n > 0 {
		f.data = append(f.data, p[:n]...)
		f.announceLocked()
	}
	return n, f.changed, nil
}

func (f *flow) close(reader bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if reader {
		f.noReader, f.data = true, nil
	} else {
		f.noWriter = true
	}
	f.announceLocked()
}

func (f *flow) announceLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// deadline is a time until which an end waits. The zero deadline is none.
type deadline struct {
	mu    sync.Mutex // guards what follows
	timer *time.Timer
	over  chan struct{} // closed when the time has passed
	gone  bool          // over is closed
}

// passed returns a channel that is closed when the time has passed.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.overLocked()
}

func (d *deadline) overLocked() chan struct{} {
	if d.over == nil {
		d.over = make(chan struct{})
	}
	return d.over
}

func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.gone {
		d.over, d.gone = nil, false
	}
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		close(d.overLocked())
		d.gone = true
	default:
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer {
				close(d.overLocked())
				d.gone, d.timer = true, nil
			}
		})
		d.timer = timer
	}
}
