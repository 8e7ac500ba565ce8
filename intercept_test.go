package clusterclient_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

type interceptedKey struct{}

// Interceptors run around every kind of handler, the first one outermost, and
// what they put in the context, see in it and answer counts.
func TestIntercept(t *testing.T) {
	var seen []string
	eachRole(t, func(t *testing.T, e *env) {
		seen = nil
		var text string
		require.NoError(t, e.Client.Invoke(metadata.AppendToOutgoingContext(t.Context(), "mark", "x"), "typed", "y", &text))
		require.Equal(t, "outer inner y", text)
		require.Equal(t, []string{"typed x", "inner"}, seen)
		var data []byte
		require.NoError(t, e.Client.Invoke(t.Context(), "bytes", []byte("z"), &data))
		require.Equal(t, "outer inner z", string(data))
		require.Equal(t, codes.PermissionDenied, status.Code(e.Client.Invoke(t.Context(), "refused", "", nil)))

		stream, err := testprotov1.NewEchoServiceClient(e.Client).Count(t.Context(), &testprotov1.CountRequest{Limit: 1})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		require.Contains(t, seen[len(seen)-2], "/Count")
	}, func(e *env) {
		e.Up.Methods = func(r *leader.Registry) {
			leader.Handle(r, "typed", func(ctx context.Context, in string) (string, error) {
				return ctx.Value(interceptedKey{}).(string) + in, nil
			})
			r.Intercept(func(ctx context.Context, method string, next func(context.Context) error) error {
				md, _ := metadata.FromIncomingContext(ctx)
				mark := "-"
				if m := md.Get("mark"); len(m) > 0 {
					mark = m[0]
				}
				seen = append(seen, method+" "+mark)
				if method == "refused" {
					return status.Error(codes.PermissionDenied, "no")
				}
				return next(context.WithValue(ctx, interceptedKey{}, "outer "))
			})
			r.Intercept(func(ctx context.Context, _ string, next func(context.Context) error) error {
				seen = append(seen, "inner")
				outer, _ := ctx.Value(interceptedKey{}).(string)
				return next(context.WithValue(ctx, interceptedKey{}, outer+"inner "))
			})
			leader.Handle(r, "bytes", func(ctx context.Context, in []byte) ([]byte, error) {
				return append([]byte(ctx.Value(interceptedKey{}).(string)), in...), nil
			})
			leader.Handle(r, "refused", func(context.Context, string) (string, error) { return "", nil })
			testprotov1.RegisterEchoServiceServer(r, new(echoService))
		}
	})
}
