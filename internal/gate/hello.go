package gate

import "encoding/binary"

const (
	clientHello = 1 // the first byte of that message

	// maxHello is how long the record with a hello may be. That of package tls
	// has 1.5 KiB.
	maxHello = 4 << 10

	maxCiphers    = 512 // bytes of them
	maxExtensions = 32
	maxExtension  = 320 // bytes; the longest name of a server takes 260
	maxShares     = 8
)

// Extensions that may be longer than others. Package tls makes no list of what is in
// them, but for the shares of keys, which are counted.
const (
	extPadding   = 21
	extKeyShares = 51
	extEncrypted = 0xfe0d // a hello in a hello
)

// plausible reports whether a client says such a hello, and nobody who wants
// much room for few bytes: package tls makes lists of what is in it, in which a
// byte can take a hundred. What the hello means is not looked at.
func plausible(message []byte) bool {
	f := fields(message)
	kind, size := f.number(1), f.number(3)
	f.take(2 + 32) // version, random
	ok := kind == clientHello && size == len(message)-4
	f.vector(1) // session
	ciphers, _ := f.vector(2)
	_, whole := f.vector(1) // compression
	if !ok || !whole || len(ciphers) > maxCiphers {
		return false
	}
	if len(f) == 0 {
		return true
	}
	extensions, whole := f.vector(2)
	return whole && len(f) == 0 && extensions.plausible()
}

func (f fields) plausible() bool {
	for n := 0; len(f) > 0; n++ {
		kind := f.number(2)
		body, whole := f.vector(2)
		switch {
		case !whole || n == maxExtensions:
			return false
		case kind == extKeyShares && !body.fewShares():
			return false
		case len(body) > maxExtension && kind != extPadding && kind != extKeyShares && kind != extEncrypted:
			return false
		}
	}
	return true
}

func (f fields) fewShares() bool {
	shares, whole := f.vector(2)
	for n := 0; whole && len(shares) > 0; n++ {
		shares.number(2)
		if _, whole = shares.vector(2); n == maxShares {
			return false
		}
	}
	return whole
}

// fields is what is left of a message to be read.
type fields []byte

// take returns the next n bytes, and false if there are not so many: then
// nothing is left.
func (f *fields) take(n int) (fields, bool) {
	if len(*f) < n {
		*f = nil
		return nil, false
	}
	taken := (*f)[:n]
	*f = (*f)[n:]
	return taken, true
}

// number reads one of so many bytes; -1 if they are not there.
func (f *fields) number(size int) int {
	b, ok := f.take(size)
	if !ok {
		return -1
	}
	var whole [4]byte
	copy(whole[4-size:], b)
	return int(binary.BigEndian.Uint32(whole[:]))
}

// vector reads bytes behind their number, which has so many itself.
func (f *fields) vector(size int) (fields, bool) {
	n := f.number(size)
	if n < 0 {
		return nil, false
	}
	return f.take(n)
}
