package clusterclient_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/clustertest"
	"github.com/clusterclient/clusterclient/internal/bubble"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// maxMessage is the largest argument or result.
const maxMessage = 64 << 20

// sized are methods that are about sizes.
func sized(r *leader.Registry) {
	roundTrips(r)
	leader.Handle(r, "give", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
	leader.Handle(r, "complain", func(_ context.Context, n int) ([]byte, error) {
		return nil, errors.New(strings.Repeat("x", n))
	})
	leader.Handle(r, "header", func(ctx context.Context, n int) ([]byte, error) {
		return make([]byte, n), grpc.SetHeader(ctx, metadata.Pairs("large", strings.Repeat("x", 2<<20)))
	})
	leader.Handle(r, "odd header", func(ctx context.Context, _ int) ([]byte, error) {
		return nil, grpc.SetHeader(ctx, metadata.MD{"odd\xff": {"x"}})
	})
}

func TestInvokeWithMuchData(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		want := bytes.Repeat([]byte("0123456789abcde\n"), 5<<16)
		got, err := clusterclient.Invoke[[]byte, []byte](t.Context(), e.Client, "reverse", bytes.Clone(want))
		require.NoError(t, err)
		for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
			got[i], got[j] = got[j], got[i]
		}
		require.True(t, bytes.Equal(want, got), "5 MiB do not come back as they went")

		got, err = clusterclient.Invoke[[]byte, []byte](t.Context(), e.Client, "reverse", make([]byte, maxMessage))
		require.NoError(t, err, "the most that is allowed, both ways")
		require.Len(t, got, maxMessage)
	}, offering(sized))
}

// TestInvokeWithTooMuchData goes beyond each limit and checks that this harms
// that one call alone: another one is under way meanwhile.
func TestInvokeWithTooMuchData(t *testing.T) {
	tests := []struct {
		name string
		call func(context.Context, *clusterclient.Client) error
	}{
		{"argument", func(ctx context.Context, c *clusterclient.Client) error {
			return c.Invoke(ctx, "reverse", make([]byte, maxMessage+1), nil)
		}},
		{"oneway argument", func(ctx context.Context, c *clusterclient.Client) error {
			return c.InvokeOneway(ctx, "reverse", make([]byte, maxMessage+1))
		}},
		{"metadata", func(ctx context.Context, c *clusterclient.Client) error {
			ctx = metadata.AppendToOutgoingContext(ctx, "large", strings.Repeat("x", 2<<20))
			return c.Invoke(ctx, "reverse", make([]byte, maxMessage), nil)
		}},
		{"result", func(ctx context.Context, c *clusterclient.Client) error {
			return c.Invoke(ctx, "give", maxMessage+1, nil)
		}},
		{"header", func(ctx context.Context, c *clusterclient.Client) error {
			return c.Invoke(ctx, "header", maxMessage, nil)
		}},
		{"error", func(ctx context.Context, c *clusterclient.Client) error {
			return c.Invoke(ctx, "complain", maxMessage+2<<20, nil)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var release chan struct{}
			eachRole(t, func(t *testing.T, e *env) {
				release = make(chan struct{})
				other := make(chan error, 1)
				go func() { other <- e.Client.Invoke(t.Context(), "wait", []byte{}, nil) }()
				synctest.Wait()

				err := test.call(t.Context(), e.Client)
				require.ErrorIs(t, err, clusterclient.ErrTooLarge)
				require.Equal(t, codes.ResourceExhausted, status.Code(err))
				require.Less(t, len(err.Error()), 4<<10, "bytes of the error's text")
				close(release)
				require.NoError(t, <-other, "the other call")
			}, offering(func(r *leader.Registry) {
				sized(r)
				leader.Handle(r, "wait", func(context.Context, []byte) (any, error) {
					<-release
					return nil, nil
				})
			}))
		})
	}
}

func TestMethodWithALongName(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		err := e.Client.Invoke(t.Context(), strings.Repeat("m", 4097), nil, nil)
		require.ErrorIs(t, err, clusterclient.ErrInvalid)
		require.Less(t, len(err.Error()), 4<<10, "bytes of the error's text")
		err = e.Client.Invoke(t.Context(), strings.Repeat("m", 4096), nil, nil)
		require.Equal(t, codes.Unimplemented, status.Code(err))
	})
}

func TestMetadataThatIsNotUTF8(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		ctx := metadata.NewOutgoingContext(t.Context(), metadata.MD{"odd\xff": {"x"}})
		require.NoError(t, e.Client.Invoke(ctx, "reverse", []byte("a"), nil))
		var header metadata.MD
		require.NoError(t, e.Client.Invoke(t.Context(), "odd header", 1, nil, grpc.Header(&header)))
		require.Equal(t, metadata.MD{"odd\uFFFD": {"x"}}, header)
	}, offering(sized))
}

// TestMethodsThatCannotBeRegistered checks that Create says what is wrong.
func TestMethodsThatCannotBeRegistered(t *testing.T) {
	ok := func(context.Context, int) (int, error) { return 0, nil }
	tests := []struct {
		name, want string
		methods    func(*leader.Registry)
	}{
		{"twice", `method "m" is registered twice`, func(r *leader.Registry) {
			leader.Handle(r, "m", ok)
			leader.Handle(r, "m", ok)
		}},
		{"empty", `method "": a method needs a name in UTF-8`, func(r *leader.Registry) { leader.Handle(r, "", ok) }},
		{"not UTF-8", `method "\xff": a method needs a name in UTF-8`, func(r *leader.Registry) { leader.Handle(r, "\xff", ok, leader.Idempotent()) }},
		{"too long", "the method's name is longer than 4096 bytes", func(r *leader.Registry) { leader.Handle(r, strings.Repeat("m", 4097), ok) }},
		{"nil option", `method "m": option 1 is nil`, func(r *leader.Registry) { leader.Handle(r, "m", ok, leader.Idempotent(), nil) }},
		{"nil", `method "m" has no handler`, func(r *leader.Registry) { leader.Handle[int, int](r, "m", nil) }},
		{"idempotent", `method "m" is configured but not registered`, func(r *leader.Registry) { r.Configure("m", leader.Idempotent()) }},
		{"service", `service "clusterclient.testproto.v1.EchoService": int is not a `, func(r *leader.Registry) {
			r.RegisterService(&testprotov1.EchoService_ServiceDesc, 1)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				up := clustertest.NewUpstream()
				up.Methods = test.methods
				cluster := clustertest.New(t, up)
				_, err := cluster.TryStart(clustertest.Name)
				require.ErrorIs(t, err, clusterclient.ErrInvalid)
				require.ErrorContains(t, err, test.want)
				require.Zero(t, up.Connections(), "connections to the upstream that were left open")
			})
		})
	}
}
