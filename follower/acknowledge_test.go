package follower

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// What was dealt with before a queue group was left is acknowledged before the
// leader hears that the process wants the key without the group, which ends the
// membership: else the leader would hand it to somebody else. The acknowledgement
// may come when the writer has already asked for those that there are. That is
// too narrow a moment to be met from outside, so this holds the writer there.
func TestAcknowledgeBeforeTheKeyIsToldAnew(t *testing.T) {
	f, _ := New(Config{StaleAfter: time.Hour})
	here, there := wire.Pipe(t.Context())
	defer here.Close()
	_, err := f.Subscribe(t.Context(), "first")
	require.NoError(t, err)
	l := newLink(f, Link{Stream: here, Welcome: &clusterclientv1.Welcome{}})
	require.True(t, f.attach(l))

	first := f.keys["first"]
	first.mu.Lock()
	go func() { _ = l.w.Run(t.Context()) }() // ends with the context
	require.Eventually(t, func() bool { return first.due.Load() == nil }, 10*time.Second, time.Millisecond)

	l.dueKey(&key{f: f, name: "k"}) // its last subscription was closed
	_, err = f.Subscribe(t.Context(), "k")
	require.NoError(t, err)
	l.ack(7)
	first.mu.Unlock()

	r := wire.NewReceiver(there)
	defer r.Close()
	acknowledged, told := false, false
	for !told {
		require.NoError(t, r.Receive())
		for more := true; more && !told; {
			more, err = r.Request(nil, func(f *clusterclientv1.RequestFrame) {
				acknowledged = acknowledged || f.GetAck() != nil
				told = f.GetSubscribe().GetKey() == "k"
			})
			require.NoError(t, err)
		}
	}
	require.True(t, acknowledged, "the key was told anew before the acknowledgement")
}
