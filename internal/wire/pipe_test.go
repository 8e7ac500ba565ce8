package wire

import (
	"context"
	"io"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/clusterclient/clusterclient/internal/bubble"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

func TestPipeCarriesBatchesAndMessages(t *testing.T) {
	a, b := Pipe(t.Context())
	defer a.Close()
	batch := &Batch{buf: buffers.Get(batchSize)}
	batch.Add(publish("batch", 1))
	require.NoError(t, a.SendMsg(batch))
	require.NoError(t, a.SendMsg(&clusterclientv1.SessionRequest{Frames: []*clusterclientv1.RequestFrame{publish("message", 1)}}))
	require.NoError(t, a.SendMsg(&clusterclientv1.SessionRequest{}), "an empty message")
	require.ErrorContains(t, a.SendMsg("text"), "a pipe cannot carry string")
	for _, want := range []string{"batch", "message", ""} {
		var got clusterclientv1.SessionRequest
		require.NoError(t, b.RecvMsg(&got))
		if want == "" {
			require.Empty(t, got.GetFrames())
			continue
		}
		require.Equal(t, want, got.GetFrames()[0].GetPublish().GetKey())
	}

	require.NoError(t, b.SendMsg(&clusterclientv1.SessionResponse{}), "the other way")
	require.NoError(t, a.RecvMsg(new(clusterclientv1.SessionResponse)))
}

func TestPipeEnds(t *testing.T) {
	ends := map[string]func(a, b *PipeEnd, cancel context.CancelCauseFunc){
		"this end": func(a, _ *PipeEnd, _ context.CancelCauseFunc) { a.Close() },
		"that end": func(_, b *PipeEnd, _ context.CancelCauseFunc) { b.Close() },
		"context":  func(_, _ *PipeEnd, cancel context.CancelCauseFunc) { cancel(io.EOF) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				a, b := Pipe(ctx)
				blocked := make(chan error, 2)
				go func() {
					for {
						if err := a.SendMsg(new(clusterclientv1.SessionRequest)); err != nil {
							blocked <- err
							return
						}
					}
				}()
				go func() { blocked <- a.RecvMsg(new(clusterclientv1.SessionResponse)) }()
				synctest.Wait()
				require.Empty(t, blocked, "what has ended before the pipe has")
				end(a, b, cancel)
				require.Equal(t, io.EOF, <-blocked)
				require.Equal(t, io.EOF, <-blocked)
				for range pipeDepth {
					require.NoError(t, b.RecvMsg(new(clusterclientv1.SessionRequest)), "what was sent before the end")
				}
				require.Equal(t, io.EOF, b.RecvMsg(new(clusterclientv1.SessionRequest)))
				require.Error(t, context.Cause(a.Context()))
			})
		})
	}
}

func TestPipeCloseSend(t *testing.T) {
	a, b := Pipe(t.Context())
	defer a.Close()
	require.NoError(t, a.SendMsg(new(clusterclientv1.SessionRequest)))
	require.NoError(t, a.CloseSend())
	require.NoError(t, b.RecvMsg(new(clusterclientv1.SessionRequest)))
	require.Equal(t, io.EOF, b.RecvMsg(new(clusterclientv1.SessionRequest)))
	require.NoError(t, b.SendMsg(new(clusterclientv1.SessionResponse)), "the other direction goes on")
	require.NoError(t, a.RecvMsg(new(clusterclientv1.SessionResponse)))
}
