package leader

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/codec"
)

// A leader that is deadlocked is silent, though its transport would go on
// answering pings for ever: whichever mutex it is that nobody gives back, its
// loop waits for it before it tells anybody that it runs. Time is real here,
// since none passes in a bubble while a goroutine waits for a mutex.
func TestDeadlockedLeaderIsSilent(t *testing.T) {
	for name, mutex := range map[string]func(*Leader) *sync.Mutex{
		"its own":           func(l *Leader) *sync.Mutex { return &l.mu },
		"a key's":           func(l *Leader) *sync.Mutex { return &l.keys["k"].mu },
		"the registrations": func(l *Leader) *sync.Mutex { return &l.regs.mu },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beats := make(chan struct{}, 10)
			l, err := New(Config{Codec: codec.JSON, Logger: hclog.NewNullLogger(), Beat: func() { beats <- struct{}{} }}, nil)
			require.NoError(t, err)
			l.mu.Lock()
			l.keys["k"] = new(key)
			l.mu.Unlock()
			<-beats

			mu := mutex(l)
			mu.Lock()
			<-time.After(3 * heartbeatEvery)
			require.LessOrEqual(t, len(beats), 1, "beats while nobody gave the mutex back") // one may have begun before
			mu.Unlock()
			<-beats

			l.mu.Lock()
			delete(l.keys, "k")
			l.mu.Unlock()
			l.Leave(context.Background(), "the test is over")
			require.NoError(t, l.Close())
		})
	}
}
