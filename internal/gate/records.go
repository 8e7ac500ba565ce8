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

	// maxHello is how long the first record may be. That of package tls has 1.5
	// KiB.
	maxHello = 4 << 10

	// aroundCertificates is what else a handshake has, about.
	aroundCertificates = 2500

	recordHeader = 5
)

// records is a connection of whose TLS records little is read, until somebody
// is known to be there who may say more. Package tls makes room for a whole
// record when that is announced, and would take 256 KiB of certificates of
// anybody, before it looks at them.
//
// What is too much is not passed on. In its place comes the header of a record
// that is too long for TLS itself, so that package tls tells the other end.
type records struct {
	net.Conn
	left    int // that may be read
	body    int // of the present record, to be read
	header  [recordHeader]byte
	given   int // of header
	begun   bool
	greeted bool // the first record has come
	trusted bool
	over    bool
}

// trust makes r pass on whatever comes. It is called when no record is under
// way.
func (r *records) trust() { r.trusted = true }

func (r *records) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case r.body > 0 || r.trusted && !r.begun:
		return r.readBody(p)
	case r.over && r.given == recordHeader:
		return 0, errHandshakeRoom
	case !r.begun:
		if err := r.begin(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.header[r.given:])
	r.given += n
	if r.given == recordHeader && !r.over {
		r.body, r.begun = int(binary.BigEndian.Uint16(r.header[3:])), false
	}
	return n, nil
}

func (r *records) readBody(p []byte) (int, error) {
	if r.body > 0 {
		p = p[:min(len(p), r.body)]
	}
	n, err := r.Conn.Read(p)
	r.body -= min(n, r.body)
	return n, err
}

// begin reads the header of a record, and takes its length off what is left.
func (r *records) begin() error {
	if _, err := io.ReadFull(r.Conn, r.header[:]); err != nil {
		return err
	}
	r.begun, r.given = true, 0
	size := int(binary.BigEndian.Uint16(r.header[3:]))
	r.left -= recordHeader + size
	if r.left < 0 || !r.greeted && size > maxHello {
		r.over = true
		binary.BigEndian.PutUint16(r.header[3:], 1<<16-1)
	}
	r.greeted = true
	return nil
}

var errHandshakeRoom = errors.New("its TLS handshake has more bytes than are read of somebody who is not known")

// explain returns why a handshake has failed with err.
func (r *records) explain(err error) error {
	if r.over {
		return fmt.Errorf("%w; if its certificates are that long, raise Limits.TLSHandshake in all processes", errHandshakeRoom)
	}
	return err
}

// FitsHandshake reports whether a handshake that shows certificates of so many
// bytes fits in room.
func FitsHandshake(certificates, room int) bool { return certificates+aroundCertificates <= room }

func (p *Policy) handshakeRoom() int { return cmp.Or(p.HandshakeRoom, DefaultHandshakeRoom) }
