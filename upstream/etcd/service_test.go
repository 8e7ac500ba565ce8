package etcd_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/upstream/etcd"
)

func TestGet(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client(), etcd.WithPrefix("/app/"))
	defer up.Close()
	have, err := up.Read(t.Context(), etcd.GetRequest{Key: "key"})
	require.NoError(t, err)
	require.Equal(t, etcd.GetResponse{}, have)

	put, err := s.side.Put(t.Context(), "/app/key", "value")
	require.NoError(t, err)
	have, err = up.Read(t.Context(), etcd.GetRequest{Key: "key"})
	require.NoError(t, err)
	require.Equal(t, etcd.GetResponse{Data: []byte("value"), Version: decimal(put.Header.Revision), Found: true}, have)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = up.Read(ctx, etcd.GetRequest{Key: "key"})
	require.Equal(t, codes.Canceled, status.Code(err))
}

func TestList(t *testing.T) {
	s := newServer(t)
	up := etcd.New(s.client(), etcd.WithPrefix("/app/"))
	defer up.Close()
	for _, key := range []string{"/app/a/1", "/app/a/2", "/app/b/1", "/other"} {
		_, err := s.side.Put(t.Context(), key, "value of "+key)
		require.NoError(t, err)
	}
	for _, tt := range []struct {
		req  etcd.ListRequest
		keys []string
		more bool
	}{
		{req: etcd.ListRequest{}, keys: []string{"a/1", "a/2", "b/1"}},
		{req: etcd.ListRequest{Prefix: "a/"}, keys: []string{"a/1", "a/2"}},
		{req: etcd.ListRequest{Prefix: "a/", Limit: 1}, keys: []string{"a/1"}, more: true},
		{req: etcd.ListRequest{Prefix: "c/"}},
	} {
		have, err := up.List(t.Context(), tt.req)
		require.NoError(t, err)
		var keys []string
		for _, e := range have.Entries {
			keys = append(keys, e.Key)
			require.Equal(t, "value of /app/"+e.Key, string(e.Data))
			require.NotEmpty(t, e.Version)
		}
		require.Equal(t, tt.keys, keys, "List(%+v)", tt.req)
		require.Equal(t, tt.more, have.More, "List(%+v)", tt.req)
	}
	_, err := up.List(t.Context(), etcd.ListRequest{Limit: -1})
	require.Equal(t, codes.InvalidArgument, status.Code(err))
}

func TestStatusOf(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want codes.Code
	}{
		{rpctypes.ErrPermissionDenied, codes.PermissionDenied},
		{rpctypes.ErrNoLeader, codes.Unavailable},
		{status.Error(codes.ResourceExhausted, "full"), codes.ResourceExhausted},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
		{errors.New("other"), codes.Unknown},
	} {
		err := etcd.StatusOf("etcd: get", tt.err)
		require.Equal(t, tt.want, status.Code(err), "code of %v", tt.err)
		require.ErrorContains(t, err, "etcd: get: ")
	}
}
