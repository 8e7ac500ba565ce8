package gate

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// crafted is a hello by hand: with ciphers and extensions, in records of so many
// bytes.
func crafted(record int, ciphers []byte, extensions ...[]byte) (said []byte) {
	body := append([]byte{3, 3}, make([]byte, 32+1)...)
	body = append(append(body, long(ciphers)...), 1, 0)
	body = append(body, long(bytes.Join(extensions, nil))...)
	message := append([]byte{clientHello, 0}, long(body)...)
	for part := range slices.Chunk(message, record) {
		said = append(append(said, tlsHandshake, 3, 1), long(part)...)
	}
	return said
}

func long(b []byte) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...) }

func extension(kind uint16, body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kind), long(body)...)
}

// helloOfOpenSSL is that of version 3.0, for a server of some name, with h2.
const helloOfOpenSSL = "" +
	"160301013d010001390303875d2b5f18f01dc5183c61695b2b51e6df5e8f9ad4cfdfb450e55347da169cf320b9e5ad530902a366ebf212f957a619162dc7ea360cead88ca79736e850db6b" +
	"f1003e130213031301c02cc030009fcca9cca8ccaac02bc02f009ec024c028006bc023c0270067c00ac0140039c009c0130033009d009c003d003c0035002f00ff010000b20000000c000a" +
	"000007636c7573746572000b000403000102000a00160014001d0017001e0019001801000101010201030104002300000010000500030268320016000000170000000d002a002804030503" +
	"0603080708080809080a080b080408050806040105010601030303010302040205020602002b0009080304030303020301002d00020101003300260024001d0020de545d24a9bd61264fcb" +
	"573ed7ce65d59386da9675987cc32ded77dcb55ba178"

// Hellos that clients say are plausible.
func TestHellosOfClients(t *testing.T) {
	openSSL, err := hex.DecodeString(helloOfOpenSSL)
	require.NoError(t, err)
	require.True(t, plausible(openSSL[recordHeader:]), "of OpenSSL")
	for name, c := range map[string]*tls.Config{
		"as it is":      {},
		"TLS 1.2":       {MaxVersion: tls.VersionTLS12},
		"one curve":     {CurvePreferences: []tls.CurveID{tls.CurveP521}},
		"a long name":   {ServerName: strings.Repeat("long.", 50) + "name"},
		"many services": {NextProtos: []string{"h2", "http/1.1", "acme-tls/1", strings.Repeat("x", 200)}},
	} {
		c.InsecureSkipVerify = true
		said := firstOf(t, c)
		require.True(t, plausible(said[recordHeader:]), name)
		for n := range said[recordHeader:] {
			require.False(t, plausible(said[recordHeader:][:n]), "%d bytes of %q", n, name)
		}
	}
}

// A hello that wants much room for few bytes is not shown to package tls, and
// its end is told so.
func TestHellosThatWantRoom(t *testing.T) {
	const times = 20
	suite := []byte{0x13, 1}
	many := func(of string, times int) []byte { return long(bytes.Repeat([]byte(of), times)) }
	extensions := func(times int) (all []byte) {
		for i := range times {
			all = append(all, extension(uint16(1000+i), nil)...)
		}
		return all
	}
	for name, said := range map[string][]byte{
		"ciphers":             crafted(1<<14, bytes.Repeat(suite, 1800)),
		"services":            crafted(1<<14, suite, extension(16, many("\x01x", 1800))),
		"shares of keys":      crafted(1<<14, suite, extension(51, many("\x00\x01\x00\x01x", 700))),
		"tickets":             crafted(1<<14, suite, extension(41, append(many("\x00\x01x\x00\x00\x00\x00", 1), many("\x01x", 1800)...))),
		"extensions":          crafted(1<<14, suite, extensions(900)),
		"more than there are": crafted(1<<14, suite, extension(51, []byte{0xff, 0xff, 0})),
		"a hello of 11 KiB":   crafted(1<<14, suite, extension(16, many("\x01x", 5500))),
		"in pieces":           crafted(1<<12, suite, extension(16, many("\x01x", 5500))),
		"in small pieces":     crafted(16, suite),
		"a certificate":       {tlsHandshake, 3, 1, 0, 7, 11, 0, 0, 3, 0, 0, 0},
		"nothing":             bytes.Repeat([]byte{tlsHandshake, 3, 1, 0, 0}, 100),
		"a hello of 64 KiB":   append([]byte{tlsHandshake, 3, 1, 0x40, 0, clientHello, 0, 0xff, 0xff}, make([]byte, 1<<16)...),
	} {
		p := &Policy{TLS: &tls.Config{Certificates: []tls.Certificate{{}}}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range times {
			conn := &alerted{speaker: speaker{said: bytes.NewReader(said)}}
			_, _, err := p.Accept(t.Context(), conn)
			require.ErrorIs(t, err, ErrStranger, name)
			require.Equal(t, []byte{tlsAlert, 3, 3, 0, 2, 2, illegalParameter}, conn.told, name)
			require.LessOrEqual(t, conn.read, recordHeader+maxHello, name)
		}
		runtime.ReadMemStats(&after)
		require.Less(t, (after.TotalAlloc-before.TotalAlloc)/times, uint64(8<<10), "bytes allocated for %q", name)
	}
}

type alerted struct {
	speaker
	told []byte
}

func (a *alerted) Write(p []byte) (int, error) {
	a.told = append(a.told, p...)
	return len(p), nil
}

// The second hello, of a client that is asked for another key, is looked at as
// well.
func TestSecondHello(t *testing.T) {
	cert := selfSigned(t)
	p := &Policy{TLS: &tls.Config{Certificates: []tls.Certificate{cert}, CurvePreferences: []tls.CurveID{tls.CurveP521}}}
	first := firstOf(t, &tls.Config{InsecureSkipVerify: true})
	second := crafted(1<<14, []byte{0x13, 1}, extension(41, long(bytes.Repeat([]byte{1, 7}, 1800))))
	conn := &speaker{said: bytes.NewReader(append(first, second...))}
	_, _, err := p.Accept(t.Context(), conn)
	require.ErrorIs(t, err, errHello)

	conn = &speaker{said: bytes.NewReader(append(first, first...))}
	_, _, err = p.Accept(t.Context(), conn)
	require.Error(t, err)
	require.NotErrorIs(t, err, errHello, "that one is for package tls to judge")
}

// What anybody has said is in no log at length, or with what a terminal obeys.
func TestErrorsOfHandshakesAreBrief(t *testing.T) {
	cert := selfSigned(t)
	p := &Policy{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}}
	d, a := pair(t, 1, 2)
	go func() {
		_ = tls.Client(d, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{strings.Repeat("\x1b[2J", 60)}}).HandshakeContext(t.Context())
		_ = d.Close()
	}()
	_, _, err := p.Accept(t.Context(), a)
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\x1b")
	err = (&records{}).explain(errors.New(strings.Repeat("x", 10_000)))
	require.Len(t, err.Error(), maxRefusal)
	require.ErrorIs(t, (&records{}).explain(net.ErrClosed), net.ErrClosed)
}
