package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/leader"
)

var errClosed = errors.New("closed")

// An Upstream is an etcd client as the leader needs it. It is safe for
// concurrent use; after Close all its methods return an error.
type Upstream struct {
	client    *clientv3.Client
	watcher   clientv3.Watcher
	announcer *announcer
	opts      options
	pace      pace
	revision  atomic.Int64 // the newest revision seen
	close     func() error

	life context.Context // ends when Close begins
	end  context.CancelCauseFunc
	wg   sync.WaitGroup // goroutines and Watches; grows with mu held, and only before Close

	mu    sync.Mutex
	reach context.Context         // ends when etcd is out of reach, and is replaced; guarded by mu
	lose  context.CancelCauseFunc // ends reach; guarded by mu
}

var (
	_ leader.Upstream  = (*Upstream)(nil)
	_ leader.Getter    = (*Upstream)(nil)
	_ leader.Prober    = (*Upstream)(nil)
	_ leader.Publisher = (*Upstream)(nil)
	_ leader.Registrar = (*Upstream)(nil)
	_ leader.Service   = (*Upstream)(nil)
)

// New returns an Upstream that talks to etcd through c. It does not wait for
// etcd. Close releases what it holds, but not c, unless [WithOwnedClient] is
// given.
func New(c *clientv3.Client, opts ...Option) *Upstream {
	return newUpstream(c, defaultPace, opts)
}

func newUpstream(c *clientv3.Client, p pace, opts []Option) *Upstream {
	u := &Upstream{client: c, watcher: clientv3.NewWatcher(c), opts: newOptions(opts), pace: p}
	u.life, u.end = context.WithCancelCause(context.Background())
	u.reach, u.lose = context.WithCancelCause(u.life)
	u.announcer = newAnnouncer(u)
	u.close = sync.OnceValue(u.shutdown)
	u.wg.Go(u.keepInReach)
	return u
}

// Close ends every Watch and waits for them. Registrations stay until their
// lease runs out or the next leader adopts them. Later calls return what the
// first did.
func (u *Upstream) Close() error { return u.close() }

func (u *Upstream) shutdown() error {
	u.mu.Lock()
	u.end(errClosed)
	u.mu.Unlock()
	err := u.watcher.Close()
	u.wg.Wait()
	if u.opts.ownedClient {
		err = errors.Join(err, u.client.Close())
	}
	if err != nil {
		return fmt.Errorf("etcd: close: %w", err)
	}
	return nil
}

// spawn runs do in a goroutine that Close waits for.
func (u *Upstream) spawn(do func()) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.life.Err() != nil {
		return errClosed
	}
	u.wg.Go(do)
	return nil
}

// attach returns ctx for a Watch: it ends as well when etcd is out of reach
// and at Close, with that as its cause, and carries no metadata. Close waits
// until detach is called.
func (u *Upstream) attach(ctx context.Context) (attached context.Context, detach func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.life.Err() != nil {
		return nil, nil, errClosed
	}
	u.wg.Add(1)
	reach := u.reach
	attached, cancel := context.WithCancelCause(metadata.NewOutgoingContext(ctx, nil))
	release := context.AfterFunc(reach, func() { cancel(context.Cause(reach)) })
	return attached, func() {
		release()
		cancel(nil)
		u.wg.Done()
	}, nil
}

// Publish writes data as the value of key. When ctx ends before etcd has
// answered, the write may still happen.
func (u *Upstream) Publish(ctx context.Context, key string, data []byte) error {
	if u.life.Err() != nil {
		return fmt.Errorf("etcd: publish %q: %w", key, errClosed)
	}
	resp, err := u.client.Put(ctx, u.opts.prefix+key, string(data))
	if err != nil {
		return fmt.Errorf("etcd: publish %q: %w", key, err)
	}
	u.saw(resp.Header.GetRevision())
	return nil
}

// Register announces r by writing its key, whoever wrote it before, and
// returns when etcd has acknowledged it. When it fails it may still take
// effect, until r is deregistered.
func (u *Upstream) Register(ctx context.Context, r leader.Registration) error {
	id := identity{r.Owner.Instance, r.ID}
	if err := u.announcer.register(ctx, id, u.opts.prefix+r.Key, bytes.Clone(r.Data)); err != nil {
		return fmt.Errorf("etcd: register %q: %w", r.Key, err)
	}
	return nil
}

// Deregister withdraws r if this Upstream registered it and nobody else has
// written the key since. When it fails it can be called again.
func (u *Upstream) Deregister(ctx context.Context, r leader.Registration) error {
	id := identity{r.Owner.Instance, r.ID}
	if err := u.announcer.deregister(ctx, id); err != nil {
		return fmt.Errorf("etcd: deregister %q: %w", r.Key, err)
	}
	return nil
}
