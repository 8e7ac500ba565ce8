//go:build linux && !race

package clusterclient_test

import (
	"cmp"
	"encoding/hex"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/processtest"
)

// A strange approach is what somebody says who is not let in.
type approach struct {
	name   string
	opts   []clusterclient.Option // of the leader
	say    string
	method string // see processtest
	user   int
	waits  bool // to go on, and is not refused so far
	times  int  // at once; 0 stands for 100
	stay   int  // that many of them, and all others are shown out

	most, held uint64 // bytes that the leader allocates, and holds while that one waits
}

// What was measured, and a little. With TLS alone it takes more: a handshake, and
// beside that the parsing of a certificate.
const (
	few         = 16 << 10 // bytes, the stack of a goroutine among them
	handshake   = 72 << 10
	waits       = 36 << 10 // the handshake, with its stack
	certificate = 112 << 10
	crammed     = 768 << 10 // a certificate of 8 KiB that is full of names
)

func approaches(t *testing.T) []approach {
	ours := processtest.NewAuthority(t)
	none, secret := []clusterclient.Option(nil), clusterclient.WithSecret(someSecret)
	named, withTLS := clusterclient.WithPeers(77), clusterclient.WithTLS(ours.Config(ours, "cluster"))
	opts := func(o ...clusterclient.Option) []clusterclient.Option { return o }
	proof := "CLUSTERCLIENT-PROOF1\r\n\r\n\x01" + strings.Repeat("n", 48)
	hello := func(record, body int) string {
		return string([]byte{22, 3, 1, byte(record >> 8), byte(record), 1, 0, 0xf0, 0}) + strings.Repeat("h", body)
	}
	return []approach{
		{name: "silence", opts: none, waits: true, most: few, held: few},
		{name: "one too many", opts: none, stay: 10, most: few},
		{name: "half a preface", opts: none, say: http2Preface[:20], waits: true, most: few, held: few},
		{name: "strange bytes", opts: none, say: "GET / HTTP/1.1", most: few},
		{name: "TLS", opts: none, method: "hello", most: few},
		{name: "another user", opts: none, say: http2Preface, user: stranger, most: few},

		{name: "peers, another user", opts: opts(named), say: http2Preface, user: stranger, most: few},
		{name: "peers and TLS, another user", opts: opts(named, withTLS), method: "hello", user: stranger, most: few},

		{name: "secret, silence", opts: opts(secret), waits: true, most: few, held: few},
		{name: "secret, strange bytes", opts: opts(secret), say: "GET / HTTP/1.1", most: few},
		{name: "secret, half a proof", opts: opts(secret), say: proof, waits: true, most: few, held: few},
		{name: "secret, a wrong proof", opts: opts(secret), say: proof + strings.Repeat("m", 32), most: few},
		{name: "secret, no proof", opts: opts(secret), say: http2Preface, most: few},
		{name: "secret, TLS", opts: opts(secret), method: "hello", most: few},
		{name: "secret and TLS, no proof", opts: opts(secret, withTLS), method: "hello", most: few},
		{name: "secret and TLS, half a proof", opts: opts(secret, withTLS), say: proof, waits: true, most: few, held: few},
		{name: "secret and TLS, a wrong proof", opts: opts(secret, withTLS), say: proof + strings.Repeat("m", 32), most: few},

		{name: "TLS, silence", opts: opts(withTLS), waits: true, most: few, held: few},
		{name: "TLS, strange bytes", opts: opts(withTLS), say: "GET / HTTP/1.1", most: few},
		{name: "TLS, no TLS", opts: opts(withTLS), say: http2Preface, most: few},
		{name: "TLS, half a hello", opts: opts(withTLS), say: hello(4000, 3000), waits: true, most: few, held: few},
		{name: "TLS, a hello that is too long", opts: opts(withTLS), say: hello(1<<14, 1<<14), most: few},
		{name: "TLS, no sense", opts: opts(withTLS), say: hello(4000, 4000), most: few},
		{name: "TLS, a whole hello", opts: opts(withTLS), method: "hello", waits: true, times: 16 /* with more some would wait */, most: handshake, held: waits},
		{name: "TLS, one of P-521", opts: opts(withTLS), method: "hello", say: "P-521", waits: true, times: 16, most: handshake, held: waits},
		{name: "TLS, one of TLS 1.2", opts: opts(withTLS), method: "hello", say: "1.2", waits: true, times: 16, most: handshake, held: waits},
		{name: "TLS, a strange certificate", opts: opts(withTLS), method: "certificate", most: certificate},
		{name: "TLS, a long one", opts: opts(withTLS), method: "certificate", say: strings.Repeat("x", 8000), most: certificate},
		{name: "TLS, one that is too long", opts: opts(withTLS), method: "certificate", say: strings.Repeat("x", 40000), most: certificate},
		{name: "TLS, one full of names", opts: opts(withTLS), method: "names", say: strings.Repeat("x", 8000), most: crammed},
	}
}

// Whoever is not let in makes the leader allocate little, and hold less, however
// he tries. With TLS alone it is what a handshake takes, and a certificate.
func TestProcessAllocsOfStrangers(t *testing.T) {
	for _, a := range approaches(t) {
		t.Run(a.name, func(t *testing.T) {
			if a.user != 0 {
				needsRoot(t)
			}
			w := processtest.New(t)
			leads := realClient(t, w.Port, clustertest.NewUpstream(), append(a.opts,
				clusterclient.WithRuntimeDir(clusterclient.NoRuntimeDir), clusterclient.WithLimits(clusterclient.Limits{Handshake: time.Minute, Unauthenticated: a.stay}))...)
			strangers := w.Spawn()
			if a.user != 0 {
				strangers = w.SpawnUser(a.user)
			}
			_, _ = a.visit(t, w, leads, strangers) // fills the pools, and looks for the process
			most, held := a.visit(t, w, leads, strangers)
			t.Logf("allocates %d bytes, holds %d", most, held)
			require.Less(t, most, int64(a.most), "bytes allocated for each")
			if a.waits {
				require.Less(t, held, int64(a.held), "bytes held for each")
			}
		})
	}
}

// visit has many strangers come at once, and go.
func (a approach) visit(t *testing.T, w *processtest.World, leads *clusterclient.Client, strangers *child) (most, held int64) {
	times := cmp.Or(a.times, 100)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	refused, goroutines := leads.Status().Refused, runtime.NumGoroutine()
	say := a.say
	if a.method == "" {
		say = hex.EncodeToString([]byte(say))
	}
	strangers.Must(command{Op: "strange", Port: w.Port, Times: times, Data: say, Method: a.method, Tag: "strangers"})
	awaited := func() bool {
		if a.waits {
			return runtime.NumGoroutine() >= goroutines+times
		}
		return leads.Status().Refused >= refused+uint64(times-a.stay)
	}
	require.Eventually(t, awaited, time.Minute, time.Millisecond, "those who came")
	runtime.ReadMemStats(&after)
	most = int64(after.TotalAlloc-before.TotalAlloc) / int64(times)
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	held = (int64(after.HeapAlloc+after.StackInuse) - int64(before.HeapAlloc+before.StackInuse)) / int64(times)
	strangers.Must(command{Op: "end", Tag: "strangers"})
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+5 }, time.Minute, time.Millisecond, "those who went")
	return most, held
}
