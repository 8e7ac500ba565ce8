package clusterclient

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A road is the faster way to an address of this host: a Unix socket in the
// directory that the processes of one user share. The port stays the lock.
// Whoever has bound it offers the socket beside it, for as long as it listens;
// whoever finds no socket, or nobody behind it, takes the port.
type road struct {
	dir     func() (string, error)
	network string // names the one that this process sees, where a host has several

	trouble *atomic.Pointer[string] // why the last offer came to nothing; nil where nobody asks
}

const (
	roadSuffix = ".sock"

	// staleAfter is how old a socket is that may be swept. A younger one may
	// be bound but not listened on yet.
	staleAfter = time.Minute
)

// errNoRoad is why there is no socket where the system has none that would do.
var errNoRoad = errors.New("no Unix sockets")

// path returns where the socket of address lies. Two network namespaces that
// share the directory each have an address of their own.
func (r road) path(address string) (string, error) {
	if r.dir == nil || runtime.GOOS == "windows" { // files of sockets cannot be renamed there
		return "", errNoRoad
	}
	dir, err := r.dir()
	if err != nil {
		return "", err
	}
	name := forFile(address) + roadSuffix
	if r.network != "" {
		name = r.network + "-" + name
	}
	return filepath.Join(dir, name), nil
}

// forFile returns an address without what has a meaning in names of files.
func forFile(address string) string {
	address = strings.ReplaceAll(address, ":", "-")
	return strings.ReplaceAll(strings.ReplaceAll(address, "[", ""), "]", "")
}

func (r road) dial(ctx context.Context, address string) (net.Conn, error) {
	path, err := r.path(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: dialTimeout}
	return dialAt(ctx, d, path)
}

// dialAt connects to the socket at path.
func dialAt(ctx context.Context, d net.Dialer, path string) (conn net.Conn, err error) {
	err = atSocket(path, func(path string) error {
		conn, err = d.DialContext(ctx, "unix", path)
		return err
	})
	return conn, err
}

// bindAt makes a socket at path, which stays when its listener is closed.
func bindAt(ctx context.Context, path string) (lis *net.UnixListener, err error) {
	err = atSocket(path, func(path string) error {
		bound, err := new(net.ListenConfig).Listen(ctx, "unix", path)
		if err != nil {
			return err
		}
		lis = bound.(*net.UnixListener)
		lis.SetUnlinkOnClose(false)
		return nil
	})
	return lis, err
}

// offer returns a listener that is lis with, where there can be one, a socket
// beside it.
func (r road) offer(ctx context.Context, lis net.Listener) net.Listener {
	path, err := r.path(lis.Addr().String())
	if err != nil {
		return lis
	}
	beside, err := listenAt(ctx, path)
	r.note(err)
	if err != nil {
		return lis
	}
	return &twoRoads{Listener: lis, beside: beside}
}

// note keeps what came of an offer, which the port makes up for.
func (r road) note(err error) {
	if r.trouble == nil {
		return
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	text := err.Error()
	r.trouble.Store(&text)
}

// listenAt puts a socket at path that is listened on from the moment it is
// there, in the place of what an earlier process has left.
func listenAt(ctx context.Context, path string) (*roadListener, error) {
	dir, file := filepath.Split(path)
	unfinished := filepath.Join(dir, "."+strconv.Itoa(os.Getpid())+"-"+file)
	_ = os.Remove(unfinished) // of an earlier process with this pid
	lis, err := bindAt(ctx, unfinished)
	if err != nil {
		return nil, err
	}
	l := &roadListener{Listener: lis, path: path}
	l.file, err = os.Lstat(unfinished)
	if err == nil {
		err = os.Rename(unfinished, path)
	}
	if err != nil {
		_ = os.Remove(unfinished)
		_ = lis.Close()
		return nil, err
	}
	return l, nil
}

// A roadListener removes its socket when it is closed, if that is still its
// own.
type roadListener struct {
	net.Listener
	path string
	file os.FileInfo
	once sync.Once // a file of somebody else may get the same number later
}

func (l *roadListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			_ = os.Remove(l.path)
		}
	})
	return l.Listener.Close()
}

// twoRoads listens on a port. Connections that come over the socket beside it
// are accepted there.
type twoRoads struct {
	net.Listener
	beside *roadListener
}

// Close takes the socket away before the port is free for somebody else.
func (l *twoRoads) Close() error {
	return errors.Join(l.beside.Close(), l.Listener.Close())
}

// sweep removes sockets of processes that were killed. Most are replaced by
// the next leader at their address; ports that systems choose do not come
// again. It is not done at a takeover, for which everybody waits.
func (r road) sweep() {
	if r.dir == nil {
		return
	}
	dir, err := r.dir()
	if err != nil {
		return
	}
	files, _ := os.ReadDir(dir)
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), roadSuffix) {
			continue
		}
		info, err := f.Info()
		if err != nil || time.Since(info.ModTime()) < staleAfter {
			continue
		}
		path := filepath.Join(dir, f.Name())
		// A datagram cannot be sent to a socket for streams, and it is refused
		// only if nobody is there. No connection is made.
		err = atSocket(path, func(path string) error {
			conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: path})
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(path)
		}
	}
}
