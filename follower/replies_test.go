package follower

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/wire"
)

// TestRepliesOfABatch: each goes to the attempt that waits for it, in whatever
// order they come, and those that nobody waits for any more to nobody.
func TestRepliesOfABatch(t *testing.T) {
	l := &link{waiting: newWaitlist(), w: wire.NewRequestWriter(nil, nil)}
	deadline := time.Now().Add(time.Hour)
	var attempts []*attempt
	var came replies
	for range 10 {
		a := newAttempt().(*attempt)
		_, ok := l.waiting.add(a, deadline)
		require.True(t, ok)
		attempts = append(attempts, a)
	}
	gaveUp := attempts[3]
	require.Same(t, gaveUp, l.waiting.take(gaveUp.id))
	for i := range attempts {
		a := attempts[len(attempts)-1-i]
		came.add(&wire.Reply{ID: a.id, Codec: string(rune('a' + i))})
	}
	came.add(&wire.Reply{ID: 1 << 60})
	came.add(&wire.Reply{ID: attempts[0].id, Codec: "again"})
	l.takeReplies(&came)
	for i, a := range attempts {
		if a == gaveUp {
			require.Empty(t, a.done)
			continue
		}
		require.Equal(t, answered, <-a.done)
		require.Equal(t, string(rune('a'+9-i)), a.reply.Codec)
	}
	require.Zero(t, l.waiting.len())
	require.Empty(t, came.came, "nothing is left for the next batch")
	l.takeReplies(&came)
}
