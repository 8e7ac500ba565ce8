package etcd_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/leader"
	"github.com/clusterclient/clusterclient/upstream/etcd"
)

// FuzzAnswers is an etcd that says anything: to a read, in the changes of a
// watch that follow, and to a list. What is reported of one key goes forward,
// and what cannot be is an error.
func FuzzAnswers(f *testing.F) {
	kv := func(revision int64) *mvccpb.KeyValue {
		return &mvccpb.KeyValue{Key: []byte("/app/k"), Value: []byte("v"), ModRevision: revision}
	}
	add := func(read *etcdserverpb.RangeResponse, events ...*mvccpb.Event) {
		first, err := proto.Marshal(read)
		require.NoError(f, err)
		second, err := proto.Marshal(&etcdserverpb.WatchResponse{Events: events})
		require.NoError(f, err)
		f.Add(first, second)
	}
	add(&etcdserverpb.RangeResponse{Header: &etcdserverpb.ResponseHeader{Revision: 2}, Kvs: []*mvccpb.KeyValue{kv(1)}, More: true},
		&mvccpb.Event{Kv: kv(3)}, &mvccpb.Event{Kv: kv(3)}, &mvccpb.Event{Type: mvccpb.Event_DELETE, Kv: kv(4)})
	add(&etcdserverpb.RangeResponse{}, &mvccpb.Event{}, &mvccpb.Event{Kv: kv(-1)})
	f.Fuzz(func(t *testing.T, read, changes []byte) {
		var resp etcdserverpb.RangeResponse
		var watch etcdserverpb.WatchResponse
		if proto.Unmarshal(read, &resp) != nil || proto.Unmarshal(changes, &watch) != nil {
			return
		}
		var events []*clientv3.Event
		events = append(events, watch.GetEvents()...)
		first, last := true, resp.GetHeader().GetRevision()
		err := etcd.WatchAnswers(t.Context(), &resp, events, func(u leader.Update) {
			if first { // what is, which has a version from any time before
				first = false
				return
			}
			revision, err := strconv.ParseInt(u.Version, 10, 64)
			require.NoError(t, err)
			require.Greater(t, revision, last)
			last = revision
		})
		require.Equal(t, resp.GetHeader().GetRevision() < 0, err != nil, "a revision that went back")
		list, err := etcd.ListAnswer(t.Context(), &resp)
		require.NoError(t, err)
		require.Len(t, list.Entries, len(resp.GetKvs()))
	})
}
