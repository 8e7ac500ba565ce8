//go:build unix

package clusterclient

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

const (
	// relayPrefix begins the names of the sockets of places.
	relayPrefix = "relay-"

	// relayTimeout bounds the sending of a listener.
	relayTimeout = time.Second

	// backlog is how many connections the system may keep for a Unix socket
	// that was listened on before; it has a limit of its own.
	backlog = 4096
)

// Relay makes a place: a Unix socket in the directory that is closed to other
// users.
func (l loopback) Relay(ctx context.Context) (string, func(context.Context) (net.Listener, error), error) {
	if l.road.dir == nil {
		return "", nil, errNoRelay
	}
	dir, err := l.road.dir()
	if err != nil {
		return "", nil, err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	place := relayPrefix + hex.EncodeToString(id[:]) + roadSuffix
	lis, err := listenAt(ctx, filepath.Join(dir, place))
	if err != nil {
		return "", nil, err
	}
	context.AfterFunc(ctx, func() { _ = lis.Close() })
	arrived := make(chan parcel, 1)
	go func() { // ends when ctx does, at the latest
		got, err := l.road.receive(lis)
		_ = lis.Close()
		arrived <- parcel{got, err}
		<-ctx.Done()
		select {
		case p := <-arrived: // nobody took it
			if p.lis != nil {
				_ = p.lis.Close()
			}
		default:
		}
	}()
	return place, takeFrom(arrived), nil
}

// receive waits for a listener from a process of this user.
func (r road) receive(lis net.Listener) (net.Listener, error) {
	for {
		conn, err := lis.Accept()
		if err != nil {
			return nil, err
		}
		got, err := r.receiveFrom(conn.(*net.UnixConn))
		_ = conn.Close()
		if err == nil {
			return got, nil
		}
	}
}

// sameUser returns nil if the other end of a connection within the shared
// directory is a process of this user, as far as the system tells. Others
// cannot get there.
func sameUser(conn net.Conn) error {
	own, other, err := peercred.Of(conn)
	switch {
	case errors.Is(err, peercred.ErrUnknown):
		return nil
	case err != nil:
		return err
	case own.UID != other.UID:
		return fmt.Errorf("uid %d is at the other end, not uid %d", other.UID, own.UID)
	}
	return nil
}

func (r road) receiveFrom(conn *net.UnixConn) (net.Listener, error) {
	if err := sameUser(conn); err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(relayTimeout))
	data, rights := make([]byte, 1), make([]byte, syscall.CmsgSpace(2*4))
	_, n, _, _, err := conn.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	lis, err := r.unpack(rights[:n])
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(data); err != nil { // who sends it does not know that it is here, and keeps it
		_ = lis.Close()
		return nil, err
	}
	return lis, nil
}

// unpack makes a listener of the descriptors in a message.
func (r road) unpack(rights []byte) (net.Listener, error) {
	all, err := listenersIn(rights)
	if err != nil {
		return nil, err
	}
	if len(all) == 1 { // the leader before could not offer a socket
		return r.offer(context.Background(), all[0]), nil
	}
	path, err := r.path(all[0].Addr().String())
	if err == nil {
		var file os.FileInfo
		if file, err = os.Lstat(path); err == nil {
			r.note(nil)
			return &twoRoads{Listener: all[0], beside: &roadListener{Listener: all[1], path: path, file: file}}, nil
		}
	}
	_ = all[1].Close()
	return r.offer(context.Background(), all[0]), nil // somebody has removed the socket
}

// listenersIn returns the one or two listeners in a message.
func listenersIn(rights []byte) (all []net.Listener, err error) {
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	var descriptors []int
	for i := range messages {
		if fds, err := syscall.ParseUnixRights(&messages[i]); err == nil {
			descriptors = append(descriptors, fds...)
		}
	}
	for _, fd := range descriptors {
		syscall.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "listener")
		lis, listenErr := net.FileListener(f)
		_ = f.Close() // lis has one of its own
		if listenErr != nil {
			err = listenErr
			continue
		}
		all = append(all, lis)
	}
	if err == nil && (len(all) == 0 || len(all) > 2) {
		err = fmt.Errorf("%d listeners came", len(all))
	}
	if len(all) > 0 {
		all[0] = freedFirst(all[0])
	}
	if err == nil && len(all) == 2 {
		err = listenAgain(all[1])
	}
	if err != nil {
		for _, lis := range all {
			_ = lis.Close()
		}
	}
	return all, err
}

// listenAgain makes the system tell those who connect to a Unix socket that it
// is this process which listens.
func listenAgain(lis net.Listener) error {
	unix, ok := lis.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("a %T came beside the port", lis)
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return err
	}
	var listenErr error
	err = raw.Control(func(fd uintptr) { listenErr = syscall.Listen(int(fd), backlog) })
	return errors.Join(err, listenErr)
}

// Send gives lis to who made the place.
func (l loopback) Send(ctx context.Context, place string, lis net.Listener) error {
	if l.road.dir == nil || filepath.Base(place) != place {
		return errNoRelay
	}
	dir, err := l.road.dir()
	if err != nil {
		return err
	}
	d := net.Dialer{Timeout: relayTimeout}
	conn, err := dialAt(ctx, d, filepath.Join(dir, place))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := sameUser(conn); err != nil {
		return err
	}
	_ = conn.SetDeadline(time.Now().Add(relayTimeout))
	if err := sendListener(conn.(*net.UnixConn), lis); err != nil {
		return err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("the listener was not taken: %w", err)
	}
	leave(lis)
	return nil
}

// sendListener sends the descriptors of lis.
func sendListener(conn *net.UnixConn, lis net.Listener) error {
	parts := []net.Listener{lis}
	if both, ok := lis.(*twoRoads); ok {
		parts = []net.Listener{both.Listener, both.beside.Listener}
	}
	return withDescriptors(parts, nil, func(fds []int) error {
		_, _, err := conn.WriteMsgUnix([]byte{0}, syscall.UnixRights(fds...), nil)
		return err
	})
}

// withDescriptors calls use with the descriptors of all listeners, which stay
// open meanwhile.
func withDescriptors(all []net.Listener, fds []int, use func([]int) error) error {
	if len(all) == 0 {
		return use(fds)
	}
	lis, ok := all[0].(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no descriptor", all[0])
	}
	raw, err := lis.SyscallConn()
	if err != nil {
		return err
	}
	var useErr error
	err = raw.Control(func(fd uintptr) { useErr = withDescriptors(all[1:], append(fds, int(fd)), use) })
	return errors.Join(err, useErr)
}

// leave closes a listener that another process has, too.
func leave(lis net.Listener) {
	both, ok := lis.(*twoRoads)
	if !ok {
		_ = lis.Close()
		return
	}
	both.beside.once.Do(func() {}) // the socket stays
	_ = both.Close()
}
