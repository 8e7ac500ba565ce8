package gate

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/peercred"
)

// openLane opens a lane of session, and returns what comes of it at the other
// end. What is said over it is "hello".
func openLane(t *testing.T, dials, accepts *Policy, session string) (conn net.Conn, dialErr, acceptErr error) {
	t.Helper()
	d, a := pair(t, 1, 1)
	type outcome struct {
		conn net.Conn
		err  error
	}
	accepted := make(chan outcome, 1)
	go func() {
		_ = a.SetDeadline(time.Now().Add(3 * time.Second))
		conn, _, err := accepts.Accept(t.Context(), a)
		accepted <- outcome{conn, err}
	}()
	own, _, dialErr := dials.Dial(t.Context(), d, 3*time.Second)
	if dialErr == nil {
		dialErr = OpenLane(own, []byte(session))
	}
	if dialErr == nil {
		_, _ = own.Write([]byte("hello"))
	}
	came := <-accepted
	_ = d.Close()
	return came.conn, dialErr, came.err
}

func TestLaneComesIn(t *testing.T) {
	for name, p := range map[string]func() *Policy{
		"one user": func() *Policy { return &Policy{Instance: []byte("0123456789abcdef")} },
		"a secret": func() *Policy { return &Policy{Instance: []byte("0123456789abcdef"), Secret: secretA} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				conn, dialErr, acceptErr := openLane(t, p(), p(), "the session's id")
				require.NoError(t, errors.Join(dialErr, acceptErr))
				lane, ok := conn.(*Lane)
				require.True(t, ok, "%T", conn)
				require.Equal(t, "the session's id", string(lane.Session[:]))
				said, _ := io.ReadAll(lane)
				require.Equal(t, "hello", string(said))
			})
		})
	}
}

func TestLaneDoesNotComeIn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		_, _, err := openLane(t, &Policy{}, &Policy{Secret: secretA}, "the session's id")
		require.ErrorContains(t, err, "does not prove that it knows the secret")
		_, _, err = openLane(t, &Policy{}, &Policy{TLS: &tls.Config{}}, "the session's id")
		require.ErrorContains(t, err, "does not use TLS, and the leader does")
		_, err, _ = openLane(t, &Policy{}, &Policy{}, "too short")
		require.ErrorContains(t, err, "has 9 bytes, not 16")
	})
}

// TestLaneThatSaysNoSession: whoever stops behind the preface has not come in.
func TestLaneThatSaysNoSession(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		d, a := pair(t, peercred.Nobody, 0)
		_, _ = d.Write([]byte(lanePreface + "half"))
		_ = a.SetDeadline(time.Now().Add(time.Second))
		conn, _, err := (&Policy{Vouched: true}).Accept(t.Context(), a)
		require.Error(t, err)
		require.True(t, conn == nil, "%T", conn)
	})
}
