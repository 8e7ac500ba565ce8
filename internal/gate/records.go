package gate

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

const (
	// DefaultHandshakeRoom is how many bytes of a TLS handshake are read of
	// somebody who is not known yet. A chain of three certificates for RSA keys of
	// 4096 bits, with a hundred names, takes 10 KiB.
	DefaultHandshakeRoom = 12 << 10

	// LeastHandshakeRoom is the least with which anybody can be known.
	LeastHandshakeRoom = 4 << 10

	// aroundCertificates is what else a handshake has, about.
	aroundCertificates = 2500

	recordHeader = 5
)

// records is a connection of whose TLS records little is read, until somebody
// is known to be there who may say more. Package tls makes room for a whole
// record when that is announced, and would take 256 KiB of certificates of
// anybody, before it looks at them; and of a hello it makes lists. So a hello is
// held back until it has come whole and is plausible, and has to be in one
// record, as package tls and the other libraries send it.
//
// What is too much is not passed on. In its place comes the header of a record
// that is too long for TLS itself, so that package tls tells the other end.
type records struct {
	net.Conn
	left    int                    // that may be read
	ready   []byte                 // has been read, and is to be passed on
	start   [recordHeader + 1]byte // of a record, where that is what is ready
	body    int                    // of the present record, to be read
	greeted bool                   // the first record has come
	trusted bool
	refused error // why nothing more is read
}

// trust makes r pass on whatever comes. It is called when no record is under
// way.
func (r *records) trust() { r.trusted = true }

func (r *records) Read(p []byte) (int, error) {
	if len(r.ready) == 0 && r.refused == nil && r.body == 0 && !r.trusted && len(p) > 0 {
		if err := r.begin(); err != nil {
			return 0, err
		}
	}
	switch {
	case len(r.ready) > 0:
		n := copy(p, r.ready)
		r.ready = r.ready[n:]
		return n, nil
	case r.refused != nil:
		return 0, r.refused
	}
	return r.readBody(p)
}

func (r *records) readBody(p []byte) (int, error) {
	if r.body > 0 {
		p = p[:min(len(p), r.body)]
	}
	n, err := r.Conn.Read(p)
	r.body -= min(n, r.body)
	return n, err
}

// greet reads the first record. It fails, and tells the other end, before
// package tls makes room for anything, if that is not a hello.
func (r *records) greet() error {
	if err := r.begin(); err != nil {
		return err
	}
	if r.refused != nil {
		_, _ = r.Write([]byte{tlsAlert, 3, 3, 0, 2, 2, illegalParameter})
	}
	return r.refused
}

const (
	tlsAlert         = 21
	illegalParameter = 47
)

// begin reads as much of a record as has to be looked at, and takes its length
// off what is left.
func (r *records) begin() error {
	if _, err := io.ReadFull(r.Conn, r.start[:recordHeader]); err != nil {
		return err
	}
	size := int(binary.BigEndian.Uint16(r.start[3:]))
	r.left -= recordHeader + size
	switch {
	case !r.greeted && (size == 0 || size > maxHello):
		return r.refuse(errHello)
	case r.left < 0:
		return r.refuse(errHandshakeRoom)
	case r.start[0] == tlsHandshake && size > 0:
		return r.beginMessage(size)
	}
	r.ready, r.body = r.start[:recordHeader], size
	return nil
}

// beginMessage reads on in a record that is not encrypted.
func (r *records) beginMessage(size int) error {
	if _, err := io.ReadFull(r.Conn, r.start[recordHeader:]); err != nil {
		return err
	}
	first := !r.greeted
	r.greeted = true
	switch {
	case r.start[recordHeader] != clientHello && first:
		return r.refuse(errHello)
	case r.start[recordHeader] != clientHello:
		r.ready, r.body = r.start[:], size-1
		return nil
	case size > maxHello:
		return r.refuse(errHello)
	}
	record := make([]byte, recordHeader+size)
	copy(record, r.start[:])
	if _, err := io.ReadFull(r.Conn, record[len(r.start):]); err != nil {
		return err
	}
	if !plausible(record[recordHeader:]) {
		return r.refuse(errHello)
	}
	r.ready, r.body = record, 0
	return nil
}

func (r *records) refuse(why error) error {
	r.refused, r.body = why, 0
	r.ready = append(r.start[:3], 0xff, 0xff)
	return nil
}

var (
	errHandshakeRoom = errors.New("its TLS handshake has more bytes than are read of somebody who is not known")
	errHello         = fmt.Errorf("%w: its TLS handshake does not begin as that of a client", ErrStranger)
)

// explain returns why a handshake has failed with err.
func (r *records) explain(err error) error {
	switch {
	case errors.Is(r.refused, errHandshakeRoom):
		return fmt.Errorf("%w; if its certificates are that long, raise Limits.TLSHandshake in all processes", errHandshakeRoom)
	case r.refused != nil:
		return r.refused
	}
	return brief{err}
}

// brief is an error in whose text there may be what anybody has said.
type brief struct{ error }

func (b brief) Error() string { return printable(b.error.Error()) }
func (b brief) Unwrap() error { return b.error }

// FitsHandshake reports whether a handshake that shows certificates of so many
// bytes fits in room.
func FitsHandshake(certificates, room int) bool { return certificates+aroundCertificates <= room }

func (p *Policy) handshakeRoom() int { return cmp.Or(p.HandshakeRoom, DefaultHandshakeRoom) }
