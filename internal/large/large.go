// Package large copies and compares bytes of which there may be many. The
// loops inside the functions of package bytes cannot be interrupted: while one
// goes through 64 MiB, a processor does nothing else for milliseconds, and
// neither does a process whose collector waits for it.
package large

import (
	"bytes"
	"runtime"
)

// piece is how much is done between two chances for others.
const piece = 256 << 10

// Clone returns a copy of b; nil for nil.
func Clone(b []byte) []byte {
	if len(b) <= piece {
		return bytes.Clone(b)
	}
	c := make([]byte, len(b))
	Copy(c, b)
	return c
}

// Copy copies src to dst, which is as long.
func Copy(dst, src []byte) {
	for len(src) > piece {
		copy(dst, src[:piece])
		dst, src = dst[piece:], src[piece:]
		runtime.Gosched()
	}
	copy(dst, src)
}

// Equal reports whether a and b are the same bytes.
func Equal(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for len(a) > piece {
		if !bytes.Equal(a[:piece], b[:piece]) {
			return false
		}
		a, b = a[piece:], b[piece:]
		runtime.Gosched()
	}
	return bytes.Equal(a, b)
}
