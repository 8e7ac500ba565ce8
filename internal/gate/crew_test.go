package gate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// accepting is a leader's end, at which many come.
type accepting struct {
	t       *testing.T
	p       *Policy
	clients *tls.Config
	hello   []byte
	all     sync.WaitGroup
	let, at atomic.Int32 // in, and still at the gate
	cut     atomic.Int32
}

func newAccepting(t *testing.T) *accepting {
	cert := selfSigned(t)
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	config := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: roots, ServerName: "cluster"}
	return &accepting{
		t: t, hello: helloOf(t), clients: config,
		p: &Policy{Instance: []byte("i"), TLS: config, Crew: new(Crew)},
	}
}

// come lets somebody of a user connect, who has not said anything yet.
func (a *accepting) come(ctx context.Context, uid int) net.Conn {
	dials, accepts := pair(a.t, uid, 0)
	a.at.Add(1)
	a.all.Go(func() {
		defer a.at.Add(-1)
		_, _, err := a.p.Accept(ctx, accepts)
		if err == nil {
			a.let.Add(1)
			return
		}
		if errors.Is(err, errCut) {
			a.cut.Add(1)
		}
		_ = accepts.Close()
	})
	return dials
}

// strangers come, say a whole hello, and no more.
func (a *accepting) strangers(times, uid int) (ends []net.Conn) {
	for range times {
		conn := a.come(a.t.Context(), uid)
		_, err := conn.Write(a.hello)
		require.NoError(a.t, err)
		ends = append(ends, conn)
	}
	synctest.Wait()
	return ends
}

// member comes with a certificate, and returns how long it took to get in.
func (a *accepting) member(uid int) (time.Duration, error) {
	dials := a.come(a.t.Context(), uid)
	start := time.Now()
	_, _, err := (&Policy{Instance: []byte("m"), TLS: a.clients}).Dial(a.t.Context(), dials, time.Minute)
	if err != nil {
		_ = dials.Close()
	}
	synctest.Wait()
	return time.Since(start), err
}

// Those who say hello and no more keep out nobody who comes from elsewhere.
func TestCrewIsForAll(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const times = 15 * maxHandshakes
		a := newAccepting(t)
		ends := a.strangers(times, 1)
		took, err := a.member(2)
		require.NoError(t, err)
		require.LessOrEqual(t, took, handshakeTurn)
		require.EqualValues(t, maxHandshakes, a.cut.Load(), "those whose time was over")
		took, err = a.member(1) // of the same user, chance decides
		require.NoError(t, err)
		require.LessOrEqual(t, took, times/maxHandshakes*handshakeTurn)
		for _, conn := range ends {
			_ = conn.Close()
		}
		a.all.Wait()
	})
}

// The one that is cut is of an origin that has most.
func TestCrewCutsOfTheMost(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a := newAccepting(t)
		slow := a.strangers(1, 2) // the first, though slow
		many := a.strangers(maxHandshakes-1, 1)
		time.Sleep(time.Minute)
		require.Zero(t, a.cut.Load(), "nobody waits")
		late := a.strangers(1, 3)
		require.EqualValues(t, 1, a.cut.Load())
		for _, conn := range slow {
			require.NoError(t, conn.SetReadDeadline(time.Now()))
			_, err := readSteps(conn, 1024)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "there is one of that user, and many of the other")
		}
		for _, conn := range append(append(many, slow...), late...) {
			_ = conn.Close()
		}
		a.all.Wait()
	})
}

// Many who come at once all get in, and whoever is shown out waits no more.
func TestCrewOfAHerd(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const herd = 100
		a := newAccepting(t)
		var members sync.WaitGroup
		for range herd {
			dials := a.come(t.Context(), 1)
			members.Go(func() {
				_, _, err := (&Policy{Instance: []byte("m"), TLS: a.clients}).Dial(t.Context(), dials, time.Minute)
				if err != nil {
					t.Error(err)
				}
			})
		}
		members.Wait()
		a.all.Wait()
		require.EqualValues(t, herd, a.let.Load())
		require.Zero(t, a.cut.Load())
		require.Empty(t, a.p.Crew.inside)

		ends := a.strangers(maxHandshakes, 1)
		ctx, cancel := context.WithCancel(t.Context())
		waits := a.come(ctx, peercred.Nobody)
		_, err := waits.Write(a.hello)
		require.NoError(t, err)
		synctest.Wait()
		require.EqualValues(t, maxHandshakes+1, a.at.Load())
		cancel()
		synctest.Wait()
		require.EqualValues(t, maxHandshakes, a.at.Load())
		time.Sleep(time.Minute)
		require.Zero(t, a.cut.Load(), "nobody waits any more")
		for _, conn := range ends {
			_ = conn.Close()
		}
		a.all.Wait()
	})
}
