package gate

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"

	"github.com/clusterclient/clusterclient/internal/peercred"
)

// On the wire a refusal is what HTTP/2 has for it, an empty SETTINGS frame and
// a GOAWAY frame with the text, so that followers in other languages report it
// as well.
const (
	frameHeader   = 9
	frameSettings = 4
	frameGoAway   = 7
	goAwayHeader  = 8

	enhanceYourCalm    = 0xb // of whoever may come again
	inadequateSecurity = 0xc

	refusalPrefix  = "clusterclient: "
	maxRefusal     = 512 // bytes of text
	maxRefusalWire = frameHeader + frameHeader + goAwayHeader + len(refusalPrefix) + maxRefusal
)

func (r *Refusal) encode() []byte {
	text := r.Error()
	text = refusalPrefix + strings.ToValidUTF8(text[:min(len(text), maxRefusal)], "")
	b := []byte{0, 0, 0, frameSettings, 0, 0, 0, 0, 0}
	b = append(b, 0, byte((goAwayHeader+len(text))>>8), byte(goAwayHeader+len(text)), frameGoAway, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, 0) // last stream
	code := uint32(inadequateSecurity)
	if r.Busy {
		code = enhanceYourCalm
	}
	return append(binary.BigEndian.AppendUint32(b, code), text...)
}

// mayRefuse reports whether a refusal can begin like this: with settings that
// are empty, which those of a server of ours are not.
func mayRefuse(first []byte) bool {
	begin := (&Refusal{}).encode()[:frameHeader]
	n := min(len(first), len(begin))
	return bytes.Equal(first[:n], begin[:n])
}

// decodeRefusal finds a refusal in the first bytes of the other end.
func decodeRefusal(b []byte) (text string, busy, ok bool) {
	for len(b) >= frameHeader {
		size := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		kind, body := b[3], b[frameHeader:]
		if size > len(body) || kind != frameSettings && kind != frameGoAway {
			return "", false, false
		}
		if kind == frameGoAway {
			if size < goAwayHeader {
				return "", false, false
			}
			code := binary.BigEndian.Uint32(body[4:])
			text, ok = strings.CutPrefix(string(body[goAwayHeader:size]), refusalPrefix)
			return printable(text), code == enhanceYourCalm, ok && (code == enhanceYourCalm || code == inadequateSecurity)
		}
		b = body[size:]
	}
	return "", false, false
}

// printable is what may be shown of a text that came from anybody.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, text[:min(len(text), maxRefusal)])
}

// who names a peer for people.
func who(p peercred.Peer) string {
	switch {
	case p.UID == peercred.Nobody:
		return "a process of an unknown user"
	case p.PID != 0:
		return "pid " + strconv.Itoa(p.PID) + " of uid " + strconv.Itoa(p.UID)
	}
	return "uid " + strconv.Itoa(p.UID)
}
