package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/mempipe"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// between is a connection between processes of two users.
type between struct {
	net.Conn
	own, other peercred.Peer
}

func (b *between) Ends() (own, other peercred.Peer) { return b.own, b.other }

// pair returns both ends of a connection between two users. Of peercred.Nobody
// the system knows nothing.
func pair(t *testing.T, dials, accepts int) (dialled, accepted net.Conn) {
	lis := mempipe.Listen(mempipe.Addr("pair"))
	dialled, err := lis.Dial(t.Context())
	require.NoError(t, err)
	accepted, err = lis.Accept()
	require.NoError(t, err)
	require.NoError(t, lis.Close())
	if dials == peercred.Nobody {
		return dialled, accepted
	}
	d, a := peercred.Simulate(dials, 71), peercred.Simulate(accepts, 72)
	return &between{dialled, d, a}, &between{accepted, a, d}
}

// meet lets two policies meet, and closes the connection when either fails.
func meet(t *testing.T, dials, accepts *Policy, uids ...int) (ends [2]net.Conn, dialErr, acceptErr error) {
	t.Helper()
	d, a := pair(t, uids[0], uids[len(uids)-1])
	dials.Instance, accepts.Instance = []byte("0123456789abcdef"), []byte("fedcba9876543210")
	type outcome struct {
		conn net.Conn
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		_ = a.SetDeadline(time.Now().Add(3 * time.Second))
		through, _, err := accepts.Accept(t.Context(), a)
		if err != nil {
			Tell(a, err)
			_ = a.Close()
		} else {
			_ = a.SetDeadline(time.Time{})
		}
		done <- outcome{through, err}
	}()
	conn, _, dialErr := dials.Dial(t.Context(), d, 3*time.Second)
	if dialErr != nil {
		_ = d.Close()
	} else {
		ends[0] = conn
		_, _ = conn.Write([]byte(http2Preface + "x"))
	}
	accepted := <-done
	ends[1], acceptErr = accepted.conn, accepted.err
	if dialErr == nil && acceptErr != nil {
		_, err := io.ReadAll(conn)
		dialErr = errors.Join(conn.Refused(), err)
		require.Error(t, dialErr, "refused with %v, and not told", acceptErr)
	}
	return ends, dialErr, acceptErr
}

var (
	secretA = []byte("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
	secretB = []byte("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
)

func userSecret(s []byte) func() ([]byte, error) {
	return func() ([]byte, error) {
		if s == nil {
			return nil, errors.New("no such file")
		}
		return s, nil
	}
}

func TestPrefacesHaveOneLength(t *testing.T) {
	require.Len(t, proofMagic, prefaceSize)
	require.Len(t, lanePreface, prefaceSize)
}

func TestLetIn(t *testing.T) {
	for _, tt := range []struct {
		name           string
		dials, accepts *Policy
		uids           []int
	}{
		{"one user", &Policy{}, &Policy{}, []int{1, 1}},
		{"users that are named", &Policy{Users: []int{2}}, &Policy{Users: []int{3, 1}}, []int{1, 2}},
		{"a secret", &Policy{Secret: secretA}, &Policy{Secret: secretA}, []int{1, 2}},
		{"a secret and named users", &Policy{Secret: secretA, Users: []int{2}}, &Policy{Secret: secretA, Users: []int{1}}, []int{1, 2}},
		{"a secret where the system does not tell", &Policy{Secret: secretA}, &Policy{Secret: secretA}, []int{peercred.Nobody}},
		{"the user's secret where the system does not tell", &Policy{UserSecret: userSecret(secretA)}, &Policy{UserSecret: userSecret(secretA)}, []int{peercred.Nobody}},
		{"a network that vouches", &Policy{Vouched: true}, &Policy{Vouched: true}, []int{peercred.Nobody}},
		{"a secret over a network that vouches", &Policy{Secret: secretA, Vouched: true}, &Policy{Secret: secretA, Vouched: true}, []int{peercred.Nobody}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ends, dialErr, acceptErr := meet(t, tt.dials, tt.accepts, tt.uids...)
				require.NoError(t, dialErr)
				require.NoError(t, acceptErr)
				got := make([]byte, len(http2Preface)+1)
				_, err := io.ReadFull(ends[1], got)
				require.NoError(t, err)
				require.Equal(t, http2Preface+"x", string(got))
				_, _ = ends[1].Write([]byte("hello"))
				got = make([]byte, 5)
				_, err = io.ReadFull(ends[0], got)
				require.NoError(t, err)
				require.Equal(t, "hello", string(got))
			})
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name           string
		dials, accepts *Policy
		uids           []int
		dialled        string // the error of whoever dials
		accepted       string // and of whoever accepts; "" if it only sees the end
	}{
		{"another user holds the address", &Policy{}, &Policy{Users: []int{1}}, []int{1, 2}, "uid 2 is not uid 1; run all processes as one user, or give all of them WithPeers(1, 2) or the same WithSecret", ""},
		{"another user comes", &Policy{Users: []int{2}}, &Policy{}, []int{1, 2}, "pid 72 of uid 2 refuses: uid 1 is not uid 2; run all", "uid 1 is not uid 2; run all"},
		{"a user that is not among the named", &Policy{Users: []int{2}}, &Policy{Users: []int{3, 4}}, []int{1, 2}, "uid 1 is not uid 2 or 3 or 4;", "uid 1 is not uid 2 or 3 or 4;"},
		{"no secret", &Policy{Users: []int{2}}, &Policy{Secret: secretA}, []int{1, 2}, "pid 72 of uid 2 refuses: pid 71 of uid 1 does not prove that it knows the secret of WithSecret; give all", "does not prove"},
		{"a secret that the other does not have", &Policy{Secret: secretA}, &Policy{}, []int{1, 1}, "refuses: pid 71 of uid 1 uses WithSecret, and the leader does not", "and the leader does not"},
		{"another secret", &Policy{Secret: secretA}, &Policy{Secret: secretB}, []int{1, 1}, "pid 72 of uid 1 does not know the secret of WithSecret; give all", ""},
		{"a secret, not from a named user", &Policy{Secret: secretA}, &Policy{Secret: secretA, Users: []int{3}}, []int{1, 2}, "refuses: uid 1 is not uid 2 or 3", "uid 1 is not"},
		{"no user's secret", &Policy{UserSecret: userSecret(nil)}, &Policy{UserSecret: userSecret(secretA)}, []int{peercred.Nobody}, "there is no secret to ask for: no such file; give all", ""},
		{"no user's secret there", &Policy{UserSecret: userSecret(secretA)}, &Policy{UserSecret: userSecret(nil)}, []int{peercred.Nobody}, "refuses: a process of an unknown user wants proof of the secret in this user's runtime directory, which the leader cannot read: no such file", "no such file"},
		{"another user's secret", &Policy{UserSecret: userSecret(secretA)}, &Policy{UserSecret: userSecret(secretB)}, []int{peercred.Nobody}, "a process of an unknown user does not know the secret in this user's runtime directory; give all", ""},
		{"the user's secret instead of the common one", &Policy{UserSecret: userSecret(secretA)}, &Policy{Secret: secretA}, []int{peercred.Nobody}, "refuses: a process of an unknown user knows no WithSecret, and the leader has one", "knows no WithSecret"},
		{"named users where the system does not tell", &Policy{Users: []int{1}}, &Policy{}, []int{peercred.Nobody}, "the system does not tell which user", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				_, dialErr, acceptErr := meet(t, tt.dials, tt.accepts, tt.uids...)
				r, ok := errors.AsType[*Refusal](dialErr)
				require.True(t, ok, "%v is no refusal", dialErr)
				require.Contains(t, r.Error(), tt.dialled)
				require.Error(t, acceptErr)
				if r, ok = errors.AsType[*Refusal](acceptErr); tt.accepted != "" {
					require.True(t, ok, "%v is no refusal", acceptErr)
					require.Contains(t, r.Error(), tt.accepted)
				}
				for _, err := range []error{dialErr, acceptErr} {
					require.NotContains(t, err.Error(), string(secretA))
					require.NotContains(t, err.Error(), string(secretB))
				}
			})
		})
	}
}

// recorder passes on and keeps what an end reads and writes.
type recorder struct {
	net.Conn
	in, out []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.in = append(r.in, p[:n]...)
	return n, err
}

func (r *recorder) Write(p []byte) (int, error) {
	r.out = append(r.out, p...)
	return r.Conn.Write(p)
}

// What was said in one connection is of no use in another, not to the same end
// and not sent back, and the secret is not in it.
func TestProofCannotBeUsedAgain(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := &Policy{Secret: secretA, Instance: []byte("0123456789abcdef")}
		d, a := pair(t, peercred.Nobody, 0)
		tape := &recorder{Conn: d}
		go func() { _, _, _ = p.Accept(t.Context(), a) }()
		_, _, err := p.Dial(t.Context(), tape, time.Second)
		require.NoError(t, err)
		require.NoError(t, tape.Close())
		require.NotContains(t, string(tape.in)+string(tape.out), string(secretA[:8]))

		d, a = pair(t, peercred.Nobody, 0)
		_, err = d.Write(tape.out)
		require.NoError(t, err)
		_, _, err = p.Accept(t.Context(), a)
		require.ErrorContains(t, err, "does not know the secret")

		d, a = pair(t, peercred.Nobody, 0)
		_, err = a.Write(tape.in)
		require.NoError(t, err)
		_, _, err = p.Dial(t.Context(), d, time.Second)
		require.ErrorContains(t, err, "does not know the secret")

		// A mirror: it returns to the dialling end its own words.
		d, a = pair(t, peercred.Nobody, 0)
		go func() {
			call := make([]byte, prefaceSize+callSize)
			_, _ = io.ReadFull(a, call)
			_, _ = a.Write(append(append([]byte(proofMagic), call[prefaceSize+1:]...), make([]byte, macSize)...))
		}()
		_, _, err = p.Dial(t.Context(), d, time.Second)
		require.ErrorContains(t, err, "does not know the secret")
	})
}

// Somebody who listens at one address cannot pass on what is said to whoever
// listens at another one.
func TestProofIsOfOneAddress(t *testing.T) {
	listen := func() net.Listener {
		lis, err := net.Listen("tcp4", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { _ = lis.Close() })
		return lis
	}
	p := &Policy{Secret: secretA, Instance: []byte("0123456789abcdef")}
	squatter, honest := listen(), listen()
	accepted := make(chan error, 1)
	go func() {
		conn, err := honest.Accept()
		if err == nil {
			defer func() { _ = conn.Close() }()
			_, _, err = p.Accept(t.Context(), conn)
			Tell(conn, err)
		}
		accepted <- err
	}()
	go func() {
		from, err := squatter.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp4", honest.Addr().String())
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(from, to); _ = from.Close() }()
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	raw, err := net.Dial("tcp4", squatter.Addr().String())
	require.NoError(t, err)
	_, _, err = p.Dial(t.Context(), raw, time.Second)
	require.ErrorContains(t, err, "does not know the secret")
	require.NoError(t, raw.Close())
	require.Error(t, <-accepted)
}

// Whoever says nothing, or too little, is not waited for.
func TestDeadlines(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := &Policy{Secret: secretA}
		for _, said := range []string{"", "P", http2Preface[:23], proofMagic, proofMagic + "\x01"} {
			d, a := pair(t, peercred.Nobody, 0)
			_, _ = d.Write([]byte(said))
			_ = a.SetDeadline(time.Now().Add(time.Second))
			start := time.Now()
			_, _, err := p.Accept(t.Context(), a)
			require.ErrorContains(t, err, "timeout", "after %q", said)
			require.Equal(t, time.Second, time.Since(start))

			d, a = pair(t, peercred.Nobody, 0)
			_, _ = a.Write([]byte(said))
			start = time.Now()
			_, _, err = p.Dial(t.Context(), d, time.Second)
			require.ErrorContains(t, err, "timeout", "after %q", said)
			require.Equal(t, time.Second, time.Since(start))
		}
		d, _ := pair(t, peercred.Nobody, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(errors.New("had enough")) })
		_, _, err := p.Dial(ctx, d, time.Minute)
		require.ErrorContains(t, err, "had enough")
	})
}

func TestStrangers(t *testing.T) {
	for _, said := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00", "PRI * HTTP/3.0", "CLUSTERCLIENT-PROOF2\r\n\r\n"} {
		d, a := pair(t, 1, 1)
		_, _ = d.Write([]byte(said))
		_, _, err := (&Policy{}).Accept(t.Context(), a)
		require.ErrorIs(t, err, ErrStranger, "%q", said)

		d, a = pair(t, 1, 1)
		_, _ = a.Write(append([]byte(said), make([]byte, 2*maxRefusalWire)...))
		_, _, err = (&Policy{Secret: secretA}).Dial(t.Context(), d, time.Second)
		require.ErrorIs(t, err, ErrStranger, "%q", said)
	}
}

// What a refusal says comes from anybody.
func TestRefusalText(t *testing.T) {
	long := make([]byte, 5000)
	for i := range long {
		long[i] = 'x'
	}
	for said, want := range map[string]string{
		"no":                    "no ",
		"\x1b[2J\r\nroot@host:": "�[2J��root@host: ",
		string(long):            string(long[:maxRefusal]),
	} {
		for _, busy := range []bool{false, true} {
			got, isBusy, ok := decodeRefusal((&Refusal{Who: said, Busy: busy}).encode())
			require.True(t, ok)
			require.Equal(t, want, got)
			require.Equal(t, busy, isBusy)
		}
	}
}

// FuzzAccept is anybody who connects.
func FuzzAccept(f *testing.F) {
	for _, seed := range []string{"", http2Preface, proofMagic, lanePreface, lanePreface + "0123456789abcdef and more", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01"} {
		f.Add([]byte(seed), byte(0))
		f.Add([]byte(seed), byte(3))
		f.Add([]byte(seed), byte(4))
	}
	hello := helloOf(f)
	openSSL, err := hex.DecodeString(helloOfOpenSSL)
	require.NoError(f, err)
	f.Add(openSSL, byte(4))
	f.Add(hello, byte(4))
	f.Add(append(hello[:len(hello):len(hello)], hello...), byte(4))
	cert := selfSigned(f)
	f.Fuzz(func(t *testing.T, said []byte, kind byte) {
		p := &Policy{Instance: []byte("i"), Vouched: kind&1 == 0, UserSecret: userSecret(secretB)}
		if kind&2 != 0 {
			p.Secret = secretA
		}
		if kind&4 != 0 {
			p.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: x509.NewCertPool()}
		}
		d, a := pair(t, peercred.Nobody, 0)
		_, _ = d.Write(said)
		_ = d.Close()
		conn, _, err := p.Accept(t.Context(), a)
		if err == nil && (len(p.Secret) > 0 || !p.Vouched || p.TLS != nil) {
			t.Errorf("let in by %q", said)
		}
		lane, isLane := conn.(*Lane)
		switch {
		case err != nil:
		case isLane:
			got, _ := io.ReadAll(lane)
			require.Equal(t, string(said), lanePreface+string(lane.Session[:])+string(got))
		default:
			require.Equal(t, http2Preface, string(said[:prefaceSize]))
			got, _ := io.ReadAll(conn)
			require.Equal(t, said, got)
		}
		_ = a.Close()
	})
}

// FuzzDial is anybody who listens.
func FuzzDial(f *testing.F) {
	f.Add([]byte(""), true)
	f.Add((&Refusal{Who: "x"}).encode(), true)
	f.Add(append([]byte(proofMagic), make([]byte, answerSize)...), true)
	f.Add((&Refusal{Who: "x"}).encode(), false)
	f.Fuzz(func(t *testing.T, said []byte, secret bool) {
		p := &Policy{Vouched: true}
		if secret {
			p.Secret = secretA
		}
		d, a := pair(t, peercred.Nobody, 0)
		_, _ = a.Write(said)
		_ = a.Close()
		conn, _, err := p.Dial(t.Context(), d, time.Second)
		if err == nil && secret {
			t.Errorf("believed %q", said)
		}
		if err == nil {
			got, _ := io.ReadAll(conn)
			require.Equal(t, len(said), len(got))
			_ = conn.Refused()
		}
		_ = d.Close()
	})
}
