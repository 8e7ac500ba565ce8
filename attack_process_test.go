//go:build linux

package clusterclient_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/clusterclient/clusterclient/internal/processtest"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// An attack is what one attacker does to a leader's address. It runs again and
// again, by several at once.
type attack struct {
	name string
	do   func(ctx context.Context, address string)
	kind attackKind
}

// attackKind is how often an attack comes, and how long it stays.
type attackKind int

const (
	aMember attackKind = iota // one or several, for a time
	passes                    // it is short, and comes a thousand times, however long that takes
	stays                     // a thousand are there at once
)

// connected does something with a connection and closes it.
func connected(do func(ctx context.Context, conn net.Conn)) func(context.Context, string) {
	return func(ctx context.Context, address string) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp4", address)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		do(ctx, conn)
	}
}

// says sends what text returns and takes what comes until the end.
func says(text func() string) func(context.Context, string) {
	return connected(func(_ context.Context, conn net.Conn) {
		_, _ = io.WriteString(conn, text())
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, _ = io.Copy(io.Discard, conn)
	})
}

func randomText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.IntN(256))
	}
	return string(b)
}

func frame(kind, flags byte, stream uint32, announced int, body string) string {
	head := []byte{byte(announced >> 16), byte(announced >> 8), byte(announced), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + body
}

// absurdFrames is a valid beginning and what no client sends then.
func absurdFrames() string {
	text := http2Preface + emptySettings
	switch rand.IntN(6) {
	case 0: // a frame of 16 MiB
		text += frame(0, 0, 1, 1<<24-1, strings.Repeat("x", 1<<16))
	case 1: // streams that are opened and reset
		for id := uint32(1); id < 2000; id += 2 {
			text += frame(1, 4, id, 1, "\x82") + frame(3, 0, id, 4, "\x00\x00\x00\x08")
		}
	case 2: // a header without an end
		text += frame(1, 0, 1, 1, "\x82")
		for range 200 {
			text += frame(9, 0, 1, 1<<14, "\x00\x7f\xff\x7f"+strings.Repeat("a", 1<<14-4))
		}
	case 3: // settings and pings
		for range 2000 {
			text += frame(4, 0, 0, 6, "\x00\x04\x7f\xff\xff\xff") + frame(6, 0, 0, 8, "abcdefgh")
		}
	case 4: // windows that overflow
		for range 100 {
			text += frame(8, 0, 0, 4, "\x7f\xff\xff\xff")
		}
	default:
		for range 100 {
			n := rand.IntN(200)
			text += frame(byte(rand.IntN(12)), byte(rand.IntN(256)), rand.Uint32N(20), n, randomText(n))
		}
	}
	return text
}

// member is an attacker who says hello and then sends frames.
func member(reads bool, frames func(id uint64) *clusterclientv1.RequestFrame) func(context.Context, string) {
	return func(ctx context.Context, address string) {
		conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		stream, err := clusterclientv1.NewClusterClientServiceClient(conn).Session(ctx)
		if err != nil {
			return
		}
		hello := helloFrame(1)
		hello.GetHello().Name = processtest.Name
		_ = stream.Send(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{hello}})
		if reads {
			go func() {
				for {
					if _, err := stream.Recv(); err != nil {
						return
					}
				}
			}()
		}
		id := uint64(0)
		for range 300 {
			var m clusterclientv1.SessionRequest
			for range 300 {
				id++
				m.Frames = append(m.Frames, frames(id))
			}
			if stream.Send(&m) != nil {
				return
			}
		}
	}
}

func callFrame(id uint64) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Call{Call: &clusterclientv1.Call{
		Id: id, Method: []string{"quick", strings.Repeat("unknown", 100)}[id%2], Codec: "json", Payload: []byte(`"x"`),
	}}}
}

func subscribeFrame(id uint64) *clusterclientv1.RequestFrame {
	return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Subscribe{Subscribe: &clusterclientv1.Subscribe{
		Key: fmt.Sprint("flood ", id%1000, strings.Repeat("y", int(id%2)*5000)),
	}}}
}

func attacks() []attack {
	return []attack{
		{"nothing", func(ctx context.Context, _ string) { <-ctx.Done() }, aMember},
		{"random bytes", says(func() string { return randomText(1 + rand.IntN(2000)) }), passes},
		{"HTTP/1.1", says(func() string { return "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" }), passes},
		{"HTTP/2", says(func() string { return http2Preface + emptySettings + frame(1, 5, 1, 3, "\x82\x86\x84") }), passes},
		{"TLS", says(func() string { return "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + randomText(505) }), passes},
		{"proofs", says(func() string { return "CLUSTERCLIENT-PROOF1\r\n\r\n" + randomText(200) }), passes},
		{"resets", connected(func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, http2Preface[:rand.IntN(len(http2Preface))])
			_ = conn.(*net.TCPConn).SetLinger(0)
		}), passes},
		{"silence", connected(func(_ context.Context, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), stays},
		{"a preface, and silence", connected(func(_ context.Context, conn net.Conn) {
			_, _ = io.WriteString(conn, http2Preface)
			_, _ = io.Copy(io.Discard, conn)
		}), stays},
		{"a byte a second", connected(func(ctx context.Context, conn net.Conn) {
			for _, b := range []byte(http2Preface) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Second):
				}
			}
		}), stays},
		{"absurd frames", says(absurdFrames), passes},
		{"handshakes", member(true, func(uint64) *clusterclientv1.RequestFrame { return helloFrame(1) }), aMember},
		{"calls", member(true, callFrame), aMember},
		{"subscriptions", member(true, subscribeFrame), aMember},
		{"acknowledgements", member(true, func(id uint64) *clusterclientv1.RequestFrame {
			return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Ack{Ack: &clusterclientv1.Ack{Ids: []uint64{id}}}}
		}), aMember},
		{"unknown frames", member(true, func(uint64) *clusterclientv1.RequestFrame { return &clusterclientv1.RequestFrame{} }), aMember},
		{"a member that never reads", member(false, callFrame), aMember},
	}
}

// attacking runs an attack so many times, or until ctx ends, and returns how
// many of them have begun. One that stays goes on until all have.
func attacking(ctx context.Context, a attack, address string, times, atOnce int) int {
	var all, coming sync.WaitGroup
	if a.kind == stays {
		coming.Add(times)
		end := ctx.Done()
		stay, leave := context.WithCancel(context.WithoutCancel(ctx))
		ctx = stay
		go func() {
			<-end
			coming.Wait()
			leave()
		}()
	}
	var begun atomic.Int64
	left := make(chan struct{}, times)
	for range times {
		left <- struct{}{}
	}
	close(left)
	for range atOnce {
		all.Go(func() {
			for range left {
				if ctx.Err() != nil {
					return
				}
				begun.Add(1)
				if a.kind == stays {
					coming.Done()
				}
				a.do(ctx, address)
			}
		})
	}
	all.Wait()
	return int(begun.Load())
}

// TestProcessAttacks attacks a leader that has four working followers. None of
// them may notice, but for its latency, which is told and not judged: the
// attackers and they share the machine.
func TestProcessAttacks(t *testing.T) {
	w := processtest.New(t)
	mustEndure(t, w, w.Creation(), attacks())
}

// mustEndure checks that all goes on in a cluster that create makes during
// attacks on its leader, and that nothing is left of them.
func mustEndure(t *testing.T, w *processtest.World, create command, attacks []attack) {
	t.Helper()
	w.Centre.Set("k", "v")
	var all []*child
	for range 5 {
		c := w.Spawn()
		c.Must(create)
		all = append(all, c)
	}
	leads, term := w.Settled(0, all)
	followers := processtest.Without(all, leads)
	address := fmt.Sprintf("127.0.0.1:%d", w.Port)
	before := leads.Weigh()
	var quiet time.Duration
	for _, a := range attacks {
		begun, p99 := endure(t, a, address, followers)
		if quiet == 0 {
			quiet = p99
		}
		t.Logf("%-28s %4d times, p99 of a call %8v, %5.1f times the quiet one", a.name, begun, p99.Round(time.Microsecond), float64(p99)/float64(quiet))
		again, still := w.Settled(0, all)
		require.Equal(t, leads, again, "the leader after %s", a.name)
		require.Equal(t, term, still, "the term after %s", a.name)
	}
	late := w.Spawn() // who is let in as if nothing had been
	late.Must(create)
	require.Equal(t, "v", late.Must(command{Op: "get", Key: "k"}).Data)
	late.Kill()
	mustWeighNoMore(t, leads, before)
}

// endure lets the followers work during one attack, and returns how often that
// came, and the longest of their 99th percentiles.
func endure(t *testing.T, a attack, address string, followers []*child) (begun int, p99 time.Duration) {
	t.Helper()
	took := time.Duration(processtest.Rounds(3, 1)) * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), took)
	defer cancel()
	var measured []func() event
	for _, c := range followers {
		measured = append(measured, c.Tell(command{Op: "measure", Method: "quick", Timeout: took, Pause: time.Millisecond}))
	}
	times, atOnce := 1000, 20
	if a.kind == stays {
		atOnce = times
	}
	begun = attacking(ctx, a, address, times, atOnce)
	<-ctx.Done()
	if a.kind == passes { // what is left of a thousand, that takes longer than is measured
		begun += attacking(t.Context(), a, address, times-begun, atOnce)
	}
	if a.kind != aMember {
		require.GreaterOrEqual(t, begun, times, a.name)
	}
	for _, done := range measured {
		e := done()
		require.Empty(t, e.Err, "a call during %s", a.name)
		d, err := time.ParseDuration(e.Data)
		require.NoError(t, err)
		p99 = max(p99, d)
	}
	return begun, p99
}

// mustWeighNoMore waits until the leader holds what it held before.
func mustWeighNoMore(t *testing.T, c *child, before processtest.Weight) {
	t.Helper()
	late := time.After(2 * time.Minute)
	for {
		now := c.Weigh()
		if now.Goroutines <= before.Goroutines+20 && now.Descriptors <= before.Descriptors+5 && now.Heap <= before.Heap+4<<20 {
			t.Logf("before: %+v, after: %+v", before, now)
			return
		}
		select {
		case <-late:
			require.Fail(t, "the leader holds more than before the attacks", "%+v, then %+v", before, now)
		case <-time.After(time.Second):
		}
	}
}
