package leader_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/internal/wire"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// joinAs is join for a follower that says another hello.
func joinAs(t *testing.T, l *leader.Leader, hello *clusterclientv1.Hello) *peer {
	here, there := wire.Pipe(context.Background())
	go func() {
		_ = l.Serve(there, hello, leader.Origin{})
		there.Close()
	}()
	t.Cleanup(here.Close)
	return &peer{t: t, stream: here}
}

// A candidate can tell the leader of so many registrations of the leader before,
// and of so many bytes, and of no more.
func TestRecordsThatAreTooMany(t *testing.T) {
	for name, tt := range map[string]struct{ count, size, most int }{
		"by their number": {1<<18 + 1000, 0, 1 << 18},
		"by their bytes":  {300, 1 << 20, 255},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				up := &centre{names: map[string]bool{}}
				l := newLeader(t, leader.Config{Alive: func(leader.Peer) bool { return true }}, up)
				p := joinAs(t, l, &clusterclientv1.Hello{Candidate: true, Peer: &clusterclientv1.Peer{Instance: []byte("candidate"), Pid: 7}})
				owner, data := &clusterclientv1.Peer{Instance: []byte("owner"), Pid: 8}, []byte(strings.Repeat("x", tt.size))
				var frames []*clusterclientv1.RequestFrame
				for i := range tt.count {
					frames = append(frames, &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Record{
						Record: &clusterclientv1.Record{Owner: owner, Registration: uint64(i), Key: "k", Data: data},
					}})
					if len(frames) == 1<<13 || tt.size > 0 {
						p.say(frames...)
						frames = nil
					}
				}
				p.say(frames...)
				synctest.Wait()
				require.Equal(t, tt.most, l.Stats().Registrations)
			})
		})
	}
}
