package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// ReachTimeout is how long etcd may be out of reach before each Watch ends
// with an error.
const ReachTimeout = 3 * time.Second

// probeKey is what is read to see whether etcd answers. It need not exist.
const probeKey = "\x00clusterclient"

// A pace is the times that the adapter goes by.
type pace struct {
	interval time.Duration // between probes while all is well
	timeout  time.Duration // of a probe
	retry    time.Duration // after something failed, at most
}

var defaultPace = pace{interval: 5 * time.Second, timeout: ReachTimeout, retry: time.Second}

// keepInReach probes etcd until Close: at intervals, and whenever the
// connection stops being ready. A probe outlasts a short interruption, since
// the client repeats it, and so do the watches.
func (u *Upstream) keepInReach() {
	for u.life.Err() == nil {
		if err := u.probe(); err != nil {
			u.loseReach(fmt.Errorf("out of reach: %w", err))
			pause(u.life, u.pace.retry)
			continue
		}
		ctx, cancel := context.WithTimeout(u.life, u.pace.interval)
		u.client.ActiveConnection().WaitForStateChange(ctx, connectivity.Ready)
		cancel()
	}
}

// Probe returns nil when etcd has agreed on a read, over the connection that
// the watches use. That it agrees not to let us read is an answer too.
func (u *Upstream) Probe(ctx context.Context) error {
	if u.life.Err() != nil {
		return fmt.Errorf("etcd: probe: %w", errClosed)
	}
	if _, err := ask(ctx, u.client, u.opts.prefix); err != nil {
		return fmt.Errorf("etcd: probe: %w", err)
	}
	return nil
}

// Reach returns a probe for clusterclient.WithResignWhenBlind: it connects as
// config says, makes etcd agree on a read, and disconnects. Give it the config
// and the prefix of the [Upstream].
func Reach(config clientv3.Config, opts ...Option) func(context.Context) error {
	prefix := newOptions(opts).prefix
	return func(ctx context.Context) (err error) {
		client, err := clientv3.New(config)
		if err != nil {
			return fmt.Errorf("etcd: reach: %w", err)
		}
		defer func() { err = errors.Join(err, client.Close()) }()
		if _, err := ask(ctx, client, prefix); err != nil {
			return fmt.Errorf("etcd: reach: %w", err)
		}
		return nil
	}
}

// ask makes etcd agree on a read, and returns its revision; 0 when it agrees
// not to let us read.
func ask(ctx context.Context, client *clientv3.Client, prefix string) (revision int64, err error) {
	resp, err := client.Get(ctx, prefix+probeKey, clientv3.WithCountOnly())
	switch {
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return resp.Header.GetRevision(), nil
}

// probe makes etcd agree on a read, and notes how far it has come.
func (u *Upstream) probe() error {
	ctx, cancel := context.WithTimeout(u.life, u.pace.timeout)
	defer cancel()
	before := u.revision.Load()
	now, err := ask(ctx, u.client, u.opts.prefix)
	if err != nil || now == 0 {
		return err
	}
	if now < before {
		// A watch from a revision that is yet to come would wait for it in
		// silence.
		u.revision.CompareAndSwap(before, now)
		return fmt.Errorf("revision went back from %d to %d", before, now)
	}
	u.saw(now)
	return nil
}

// saw notes that etcd has come to revision.
func (u *Upstream) saw(revision int64) {
	for {
		was := u.revision.Load()
		if revision <= was || u.revision.CompareAndSwap(was, revision) {
			return
		}
	}
}

// loseReach ends every Watch under way for the reason err. Those that begin
// afterwards have another try.
func (u *Upstream) loseReach(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.lose(err)
	u.reach, u.lose = context.WithCancelCause(u.life)
}
