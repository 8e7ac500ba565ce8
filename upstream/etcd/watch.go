package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterclient/clusterclient/leader"
)

var errWatchEnded = errors.New("the client ended the watch")

// Watch reports key's value and each change of it. See the package comment
// for when it returns.
func (u *Upstream) Watch(ctx context.Context, key string, sink func(leader.Update)) error {
	attached, detach, err := u.attach(ctx)
	if err != nil {
		return fmt.Errorf("etcd: watch %q: %w", key, err)
	}
	defer detach()
	w := &watch{u: u, key: u.opts.prefix + key, sink: sink}
	err = w.run(attached)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Close ends the stream as well, and the news of that may come first.
	err = cmp.Or(context.Cause(u.life), context.Cause(attached), err)
	return fmt.Errorf("etcd: watch %q: %w", key, err)
}

// Get returns what key is now.
func (u *Upstream) Get(ctx context.Context, key string) (leader.Update, error) {
	resp, err := u.client.Get(ctx, u.opts.prefix+key)
	if err != nil {
		return leader.Update{}, fmt.Errorf("etcd: get %q: %w", key, err)
	}
	if len(resp.Kvs) == 0 {
		return leader.Update{Deleted: true}, nil
	}
	return update(resp.Kvs[0], false), nil
}

// A watch is one call of Watch.
type watch struct {
	u        *Upstream
	key      string
	sink     func(leader.Update)
	revision int64 // up to which all is reported
}

// run reads and follows; it reads again when what it would follow is gone.
func (w *watch) run(ctx context.Context) error {
	for {
		if err := w.read(ctx); err != nil {
			return err
		}
		if err := w.follow(ctx); !errors.Is(err, rpctypes.ErrCompacted) {
			return err
		}
	}
}

// read reports what the key is now.
func (w *watch) read(ctx context.Context) error {
	resp, err := w.u.client.Get(ctx, w.key)
	if err != nil {
		return err
	}
	now := resp.Header.GetRevision()
	if now < w.revision {
		return fmt.Errorf("revision went back from %d to %d", w.revision, now)
	}
	w.advance(now)
	if len(resp.Kvs) == 0 {
		w.sink(leader.Update{Deleted: true})
		return nil
	}
	w.sink(update(resp.Kvs[0], false))
	return nil
}

// follow reports what changes after what is reported already. It does not
// rely on the client to close the channel soon after ctx ends.
func (w *watch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // makes etcd forget the watch
	changes := w.u.watcher.Watch(clientv3.WithRequireLeader(ctx), w.key, clientv3.WithRev(w.revision+1))
	for {
		select {
		case resp, ok := <-changes:
			if !ok {
				return errWatchEnded
			}
			if err := resp.Err(); err != nil {
				return err
			}
			w.report(resp.Events)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *watch) report(events []*clientv3.Event) {
	for _, e := range events {
		if e.Kv.GetModRevision() <= w.revision { // 0 of a change without a key
			continue
		}
		w.advance(e.Kv.ModRevision)
		w.sink(update(e.Kv, e.Type == clientv3.EventTypeDelete))
	}
}

func (w *watch) advance(revision int64) {
	w.revision = revision
	w.u.saw(revision)
}

// update is what the leader is told of kv.
func update(kv *mvccpb.KeyValue, deleted bool) leader.Update {
	return leader.Update{Data: kv.Value, Version: version(kv), Deleted: deleted}
}

func version(kv *mvccpb.KeyValue) string { return strconv.FormatInt(kv.ModRevision, 10) }
