package follower_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

func valueFrame(term, sequence uint64, data string) *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_Value{Value: &clusterclientv1.Value{
		Key: "k", Revision: &clusterclientv1.Revision{Term: term, Sequence: sequence}, Data: []byte(data),
	}}}
}

func stateFrame(term, sequence uint64) *clusterclientv1.ResponseFrame {
	return &clusterclientv1.ResponseFrame{Kind: &clusterclientv1.ResponseFrame_State{State: &clusterclientv1.State{
		Key: "k", Revision: &clusterclientv1.Revision{Term: term, Sequence: sequence},
	}}}
}

// A leader gives no two values one revision. If one did, what was yielded first
// stays; but a revision that came without a value is as good as none.
func TestTwoValuesOfOneRevision(t *testing.T) {
	for name, c := range map[string]struct {
		told []*clusterclientv1.ResponseFrame
		want []string
	}{
		"values":             {[]*clusterclientv1.ResponseFrame{valueFrame(1, 2, "a"), valueFrame(1, 2, "b"), valueFrame(1, 3, "c")}, []string{"a", "a", "c"}},
		"older":              {[]*clusterclientv1.ResponseFrame{valueFrame(1, 2, "a"), valueFrame(1, 1, "b")}, []string{"a", "a"}},
		"the same again":     {[]*clusterclientv1.ResponseFrame{valueFrame(1, 2, "a"), valueFrame(1, 2, "a"), valueFrame(1, 2, "b")}, []string{"a", "a", "a"}},
		"a revision alone":   {[]*clusterclientv1.ResponseFrame{valueFrame(1, 2, "a"), stateFrame(1, 5), valueFrame(1, 5, "b"), valueFrame(1, 5, "c")}, []string{"a", "a", "b", "b"}},
		"snapshots, no term": {[]*clusterclientv1.ResponseFrame{valueFrame(0, 2, "a"), valueFrame(0, 2, "b")}, []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				fl, driver := follower.New(follower.Config{
					Name: "n", Codec: codec.JSON, CallTimeout: time.Minute, StaleAfter: time.Minute, Logger: hclog.NewNullLogger(),
				})
				sub, err := fl.Subscribe(t.Context(), "k")
				require.NoError(t, err)
				s := &telling{told: told{t: t}, next: make(chan struct{})}
				for _, f := range c.told {
					data, err := proto.Marshal(&clusterclientv1.SessionResponse{Frames: []*clusterclientv1.ResponseFrame{f}})
					require.NoError(t, err)
					s.batches = append(s.batches, data)
				}
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					_ = driver.Run(ctx, follower.Link{
						Release: func() {},
						Stream:  s, Welcome: &clusterclientv1.Welcome{Term: 1},
						Close: func() {}, CloseSend: func() error { return nil }, Term: func(uint64) {},
					})
				}()
				var got []string
				for range c.told {
					s.next <- struct{}{}
					synctest.Wait()
					v, ok := sub.Value()
					require.True(t, ok)
					got = append(got, string(v.Data))
				}
				require.Equal(t, c.want, got)
				cancel()
				close(s.next)
				driver.Close()
				driver.Wait()
			})
		})
	}
}

// telling is the stream of a leader that says what it has to say when it is
// told to.
type telling struct {
	told
	next chan struct{}
}

func (s *telling) RecvMsg(m any) error {
	<-s.next
	return s.told.RecvMsg(m)
}
