package etcd_test

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// TestOutOfReach shows that a Watch does not outlive the connection, and that
// the next one finds its way back.
func TestOutOfReach(t *testing.T) {
	s := newServer(t)
	up := etcd.NewPaced(s.client(), time.Hour, 100*time.Millisecond)
	defer up.Close()
	w := watch(t.Context(), t, up, "key", ignore)
	w.next()
	require.NoError(t, s.Stop(t.Context()))
	require.ErrorContains(t, w.ended(), `etcd: watch "key": out of reach: `)
	require.NoError(t, s.Start(t.Context()))

	require.Eventually(t, func() bool {
		again := watch(t.Context(), t, up, "key", ignore)
		defer again.cancel()
		select {
		case <-again.updates:
			return true
		case err := <-again.err:
			t.Logf("not yet: %v", err)
			return false
		}
	}, soon, 10*time.Millisecond)
}

// TestFrozen shows that a connection which is open but silent counts as
// broken.
func TestFrozen(t *testing.T) {
	s := newServer(t)
	p := newProxy(t, s.config.ListenClientUrls[0].Host)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{p.address()}, Logger: zap.NewNop()})
	require.NoError(t, err)
	up := etcd.NewPaced(c, 50*time.Millisecond, 500*time.Millisecond, etcd.WithOwnedClient())
	defer up.Close()
	w := watch(t.Context(), t, up, "key", ignore)
	w.next()
	p.freeze()
	require.ErrorContains(t, w.ended(), `etcd: watch "key": out of reach: `)
}

// TestRevisionWentBack replaces etcd's data by older data, as a restored
// backup does. A watch from a revision that is yet to come would hear nothing.
func TestRevisionWentBack(t *testing.T) {
	s := newServer(t)
	up := etcd.NewPaced(s.client(), 50*time.Millisecond, soon)
	defer up.Close()
	for range 10 {
		require.NoError(t, up.Publish(t.Context(), "key", []byte("new")))
	}
	w := watch(t.Context(), t, up, "key", ignore)
	require.Equal(t, "new", string(w.next().Data))

	require.NoError(t, s.Stop(t.Context()))
	s.config.Dir = t.TempDir()
	require.NoError(t, s.Start(t.Context()))
	require.ErrorContains(t, w.ended(), "revision went back from 11 to 1")
	again := watch(t.Context(), t, up, "key", ignore)
	require.True(t, again.next().Deleted)
}

// A proxy passes bytes on until it is frozen.
type proxy struct {
	target string
	l      net.Listener
	wg     sync.WaitGroup
	frozen chan struct{}
	done   chan struct{}
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{target: target, l: l, frozen: make(chan struct{}), done: make(chan struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		close(p.done)
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.l.Addr().String() }

// freeze swallows all bytes from now on.
func (p *proxy) freeze() { close(p.frozen) }

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		p.wg.Go(func() { p.pass(in, out) })
		p.wg.Go(func() { p.pass(out, in) })
		p.wg.Go(func() {
			<-p.done
			_ = in.Close()
			_ = out.Close()
		})
	}
}

func (p *proxy) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-p.frozen:
			continue
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestProbe asks over the adapter's connection and over one of its own.
func TestProbe(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client(), etcd.WithPrefix("/test/"))
	defer up.Close()
	var _ leader.Prober = up
	reach := etcd.Reach(clientv3.Config{Endpoints: s.client().Endpoints(), Logger: zap.NewNop()}, etcd.WithPrefix("/test/"))
	probe := func(ask func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return ask(ctx)
	}
	require.NoError(t, probe(up.Probe))
	require.NoError(t, probe(reach))
	require.NoError(t, s.Stop(t.Context()))
	require.ErrorContains(t, probe(up.Probe), "etcd: probe: ")
	require.ErrorContains(t, probe(reach), "etcd: reach: ")
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, probe(reach))
	require.Eventually(t, func() bool { return probe(up.Probe) == nil }, soon, 10*time.Millisecond)
	require.NoError(t, up.Close())
	require.ErrorContains(t, probe(up.Probe), "closed")
}
