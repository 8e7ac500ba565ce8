package gate

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/mempipe"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// speaker is a connection whose other end says everything at once, and more
// than anybody has to hear.
type speaker struct {
	net.Conn
	said *bytes.Reader
	read int
}

func (s *speaker) Read(p []byte) (int, error) {
	n, err := s.said.Read(p)
	s.read += n
	return n, err
}

func (s *speaker) Write(p []byte) (int, error) { return len(p), nil }
func (s *speaker) SetDeadline(time.Time) error { return nil }
func (s *speaker) LocalAddr() net.Addr         { return mempipe.Addr("here") }
func (s *speaker) Ends() (own, other peercred.Peer) {
	return peercred.Simulate(1, 1), peercred.Simulate(2, 2)
}

// Whoever is not let in makes the accepting end allocate a few KiB at most, and
// read little, whatever he says and however much.
func TestStrangersTakeNoRoom(t *testing.T) {
	const times, most = 100, 8 << 10
	noise := bytes.Repeat([]byte{0x16, 3, 1, 0x40, 0}, 1<<18)
	for name, tt := range map[string]struct {
		p    *Policy
		said []byte
	}{
		"another user":      {&Policy{}, append([]byte(http2Preface), noise...)},
		"random bytes":      {&Policy{Secret: secretA}, noise[1:]},
		"HTTP/2":            {&Policy{Secret: secretA}, append([]byte(http2Preface), noise...)},
		"half a proof":      {&Policy{Secret: secretA}, append([]byte(proofMagic), modeSecret)},
		"a wrong proof":     {&Policy{Secret: secretA}, append(append([]byte(proofMagic), modeSecret), noise...)},
		"a proof of a user": {&Policy{Secret: secretA}, append(append([]byte(proofMagic), modeUser), noise...)},
		"an unknown proof":  {&Policy{UserSecret: userSecret(secretB)}, append(append([]byte(proofMagic), 77), noise...)},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range times {
				conn := &speaker{said: bytes.NewReader(tt.said)}
				_, _, err := tt.p.Accept(t.Context(), conn)
				require.Error(t, err)
				require.LessOrEqual(t, conn.read, 128)
			}
			runtime.ReadMemStats(&after)
			require.Less(t, (after.TotalAlloc-before.TotalAlloc)/times, uint64(most), "bytes allocated for each")
		})
	}
}

// helloOf returns what a client of package tls says first.
func helloOf(t testing.TB) []byte {
	t.Helper()
	return firstOf(t, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // it only says hello
}

func firstOf(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	says, hears := net.Pipe()
	go func() { _ = tls.Client(says, c).HandshakeContext(context.Background()) }()
	room := make([]byte, maxHello)
	n, err := hears.Read(room)
	require.NoError(t, err)
	require.NoError(t, hears.Close())
	return room[:n]
}

func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"cluster"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// What is within the limit passes as it is, however it is cut, and what is
// beyond it does not.
func TestRecords(t *testing.T) {
	record := func(size int) []byte {
		return append([]byte{22, 3, 3, byte(size >> 8), byte(size)}, bytes.Repeat([]byte{7}, size)...)
	}
	first, second := helloOf(t), record(100)
	for _, step := range []int{1, 4, 5, 6, 512, 1 << 15} {
		all := append(append([]byte(nil), first...), second...)
		r := &records{Conn: &speaker{said: bytes.NewReader(append(all, record(1)...))}, left: len(all)}
		got, err := readSteps(r, step)
		require.ErrorIs(t, err, errHandshakeRoom)
		require.Equal(t, append(all, 22, 3, 3, 0xff, 0xff), got, "in steps of %d", step)
		require.ErrorContains(t, r.explain(err), "Limits.TLSHandshake")

		r = &records{Conn: &speaker{said: bytes.NewReader(append(all, "anything"...))}, left: len(all)}
		got = make([]byte, len(all))
		_, err = io.ReadFull(r, got)
		require.NoError(t, err)
		r.trust()
		rest, err := readSteps(r, step)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "anything", string(rest))
	}
}

func readSteps(r io.Reader, step int) (all []byte, err error) {
	room := make([]byte, step)
	for err == nil {
		var n int
		n, err = r.Read(room)
		all = append(all, room[:n]...)
	}
	return all, err
}
