//go:build linux

package clusterclient_test

import (
	"context"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/clusterclient/clusterclient/internal/processtest"
)

// stalled is a connection whose end says what it has to, hears nothing and stays.
type stalled struct {
	net.Conn
	done <-chan struct{}
}

func (d stalled) Read([]byte) (int, error) {
	<-d.done
	return 0, net.ErrClosed
}

// attacksOnTLS are those that take more of a leader that has to be spoken to by
// TLS: by somebody who says hello as a client does.
func attacksOnTLS(t *testing.T) []attack {
	theirs := processtest.NewAuthority(t)
	stranger := theirs.Config(theirs, "stranger")
	stranger.InsecureSkipVerify = true
	return []attack{
		{"nothing", func(ctx context.Context, _ string) { <-ctx.Done() }, aMember},
		{"HTTP/2", says(func() string { return http2Preface + emptySettings }), passes},
		{"half TLS hellos", says(func() string { return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + randomText(100) }), passes},
		{"TLS hellos without sense", says(func() string { return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + randomText(505) }), passes},
		{"TLS hellos, and silence", connected(func(ctx context.Context, conn net.Conn) {
			_ = tls.Client(stalled{conn, ctx.Done()}, stranger).HandshakeContext(context.Background())
		}), stays},
		{"strange certificates", connected(func(ctx context.Context, conn net.Conn) {
			secure := tls.Client(conn, stranger)
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			if secure.HandshakeContext(ctx) == nil {
				_, _ = secure.Read(make([]byte, 1)) // that it is refused
			}
		}), passes},
	}
}

func TestProcessAttacksOnTLS(t *testing.T) {
	w := processtest.New(t)
	ours := processtest.NewAuthority(t)
	create := w.Creation()
	create.TLS = ours.Files(ours, "cluster")
	mustEndure(t, w, create, attacksOnTLS(t))
}
