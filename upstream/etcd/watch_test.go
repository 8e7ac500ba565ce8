package etcd_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

func TestVersions(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	defer up.Close()
	w := watch(t.Context(), t, up, "key", ignore)
	require.Equal(t, leader.Update{Deleted: true}, w.next(), "first update of an absent key")

	put, err := s.side.Put(t.Context(), "key", "one")
	require.NoError(t, err)
	require.Equal(t, leader.Update{Data: []byte("one"), Version: decimal(put.Header.Revision)}, w.next())

	del, err := s.side.Delete(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, leader.Update{Version: decimal(del.Header.Revision), Deleted: true}, w.next())
}

func decimal(revision int64) string { return strconv.FormatInt(revision, 10) }

// TestEveryChange shows that no change is skipped while etcd remembers it.
func TestEveryChange(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	defer up.Close()
	w := watch(t.Context(), t, up, "key", ignore)
	w.next()
	for n := range 100 {
		_, err := s.side.Put(t.Context(), "key", strconv.Itoa(n))
		require.NoError(t, err)
	}
	for n := range 100 {
		require.Equal(t, strconv.Itoa(n), string(w.next().Data))
	}
}

// TestOneStream watches keys with contexts that carry all kinds of metadata,
// for each of which etcd's client would open another stream.
func TestOneStream(t *testing.T) {
	const keys = 50
	s := newServer(t)
	var streams atomic.Int32
	count := func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		if method == "/etcdserverpb.Watch/Watch" {
			streams.Add(1)
		}
		return open(ctx, d, cc, method, opts...)
	}
	up := etcd.New(s.client(grpc.WithChainStreamInterceptor(count)))
	defer up.Close()

	var all []*watching
	for n := range keys {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "trace", strconv.Itoa(n))
		all = append(all, watch(ctx, t, up, fmt.Sprint("key-", n), ignore))
	}
	for n, w := range all {
		w.next()
		_, err := s.side.Put(t.Context(), fmt.Sprint("key-", n), "value")
		require.NoError(t, err)
	}
	for _, w := range all {
		require.Equal(t, "value", string(w.next().Data))
	}
	require.EqualValues(t, 1, streams.Load(), "streams for %d keys", keys)
}

// TestCompactedBetween takes away, from within the first report, the revision
// from which the Watch is about to go on.
func TestCompactedBetween(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	defer up.Close()
	first := true
	w := watch(t.Context(), t, up, "key", func(leader.Update) {
		if !first {
			return
		}
		first = false
		for _, value := range []string{"one", "two"} {
			_, err := s.side.Put(t.Context(), "key", value)
			require.NoError(t, err)
		}
		_, err := s.side.Put(t.Context(), "other", "value")
		require.NoError(t, err)
		require.NoError(t, s.Compact(t.Context()))
	})
	require.True(t, w.next().Deleted)
	require.Equal(t, "two", string(w.next().Data))
	_, err := s.side.Put(t.Context(), "key", "three")
	require.NoError(t, err)
	require.Equal(t, "three", string(w.next().Data))
}

func TestWatchAfterClose(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	w := watch(t.Context(), t, up, "key", ignore)
	w.next()
	require.NoError(t, up.Close())
	require.EqualError(t, w.ended(), `etcd: watch "key": closed`)
	require.EqualError(t, up.Watch(t.Context(), "key", ignore), `etcd: watch "key": closed`)
}

func TestWatchInvalid(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client())
	defer up.Close()
	require.ErrorContains(t, up.Watch(t.Context(), "", ignore), `etcd: watch "": etcdserver: key is not provided`)
}

func TestClientIsTheCallers(t *testing.T) {
	s := newServer(t)
	c := s.client()
	require.NoError(t, etcd.New(c).Close())
	_, err := c.Get(t.Context(), "key")
	require.NoError(t, err, "Get after Close, with a client that is the caller's")

	up := etcd.New(c, etcd.WithOwnedClient())
	require.NoError(t, up.Close())
	require.NoError(t, up.Close(), "second Close")
	_, err = c.Get(t.Context(), "key")
	require.Error(t, err, "Get after Close, with a client that is owned")
	require.ErrorContains(t, up.Publish(t.Context(), "key", nil), "closed")
}

func TestGetOnce(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client(), etcd.WithOwnedClient())
	defer func() { require.NoError(t, up.Close()) }()
	v, err := up.Get(t.Context(), "key")
	require.NoError(t, err)
	require.True(t, v.Deleted)
	require.NoError(t, up.Publish(t.Context(), "key", []byte("one")))
	v, err = up.Get(t.Context(), "key")
	require.NoError(t, err)
	require.Equal(t, "one", string(v.Data))

	ctx, cancel := context.WithCancel(t.Context())
	err = up.Watch(ctx, "key", func(u leader.Update) {
		require.Equal(t, v, u, "what Watch reports")
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
}
