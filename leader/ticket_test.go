package leader_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	"github.com/clusterclient/clusterclient/leader"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

// A leader that finds out that somebody else leads, while it looks whether it may
// let a stream in, ends what is under way. The stream is not, and is not counted
// as one that has ended.
func TestStopWhileAStreamAsksToBeLetIn(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		looks, found := make(chan struct{}, 1), make(chan error)
		l := newLeader(t, leader.Config{MayAct: func() error {
			select {
			case looks <- struct{}{}:
				return <-found
			default:
				return nil
			}
		}}, new(reporter))
		looks <- struct{}{}
		p := join(t, l, 1)
		synctest.Wait() // it has been welcomed
		<-looks
		p.say(&clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Admit{Admit: &clusterclientv1.Admit{Id: 1, Method: "/service/method"}}})
		synctest.Wait()
		require.Len(t, looks, 1, "the leader looks whether it may act")
		require.NoError(t, l.Stop()) // panics if it counts wrongly
		found <- errors.New("somebody else leads")
	})
}
