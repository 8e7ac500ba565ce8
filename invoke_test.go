package clusterclient_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/codec"
	testprotov1 "github.com/clusterclient/clusterclient/internal/testproto/v1"
	"github.com/clusterclient/clusterclient/leader"
)

// offering makes the leader of a test offer what register registers.
func offering(register func(*leader.Registry)) func(*env) {
	return func(e *env) { e.Up.Methods = register }
}

func with(opts ...clusterclient.Option) func(*env) {
	return func(e *env) { e.Options = append(e.Options, opts...) }
}

type point struct{ X, Y int }

func (p point) swap() point { return point{p.Y, p.X} }

// backwards is a codec of a test's own.
type backwards struct{}

func (backwards) Name() string { return "backwards" }

func (backwards) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	slices.Reverse(data)
	return data, err
}

func (backwards) Unmarshal(data []byte, v any) error {
	data = bytes.Clone(data)
	slices.Reverse(data)
	return json.Unmarshal(data, v)
}

// roundTrips are methods that take and give the three kinds of values.
func roundTrips(r *leader.Registry) {
	leader.Handle(r, "swap", func(_ context.Context, p point) (point, error) { return p.swap(), nil })
	leader.Handle(r, "swap pointer", func(_ context.Context, p *point) (*point, error) { return &point{p.Y, p.X}, nil })
	leader.Handle(r, "reverse", func(_ context.Context, data []byte) ([]byte, error) {
		slices.Reverse(data)
		return data, nil
	})
	leader.Handle(r, "echo", func(_ context.Context, req *testprotov1.EchoRequest) (*testprotov1.EchoResponse, error) {
		return &testprotov1.EchoResponse{Text: req.GetText()}, nil
	})
	leader.Handle(r, "text to point", func(_ context.Context, _ []byte) (point, error) { return point{1, 2}, nil })
	leader.Handle(r, "message to point", func(_ context.Context, _ *testprotov1.EchoRequest) (point, error) { return point{1, 2}, nil })
	leader.Handle(r, "point to text", func(_ context.Context, p point) ([]byte, error) { return []byte("p"), nil })
}

func TestInvokeRoundTrips(t *testing.T) {
	tests := []struct {
		name  string
		codec codec.Codec
		plain bool // it can carry structs
	}{
		{"default", nil, true},
		{"bytes", codec.Bytes, false},
		{"proto", codec.Proto, false},
		{"own", backwards{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var opts []clusterclient.Option
			if test.codec != nil {
				opts = append(opts, clusterclient.WithCodec(test.codec))
			}
			eachRole(t, func(t *testing.T, e *env) {
				for _, data := range []string{"", "a", "abc", "\x00\xff"} {
					want := []byte(data)
					slices.Reverse(want)
					got, err := clusterclient.Invoke[[]byte, []byte](t.Context(), e.Client, "reverse", []byte(data))
					require.NoError(t, err, "reverse(%q)", data)
					require.NotNil(t, got, "reverse(%q)", data)
					require.Equal(t, string(want), string(got), "reverse(%q)", data)
				}
				got, err := clusterclient.Invoke[*testprotov1.EchoRequest, *testprotov1.EchoResponse](
					t.Context(), e.Client, "echo", &testprotov1.EchoRequest{Text: "héllo"})
				require.NoError(t, err, "echo")
				require.Equal(t, "héllo", got.GetText(), "echo")
				require.NoError(t, e.Client.Invoke(t.Context(), "reverse", []byte("a"), nil), "a result that nobody wants")

				testPlainValues(t, e.Client, test.plain)
			}, offering(roundTrips), with(opts...))
		})
	}
}

func testPlainValues(t *testing.T, c *clusterclient.Client, ok bool) {
	t.Helper()
	if !ok {
		_, err := clusterclient.Invoke[point, point](t.Context(), c, "swap", point{1, 2})
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "a struct in a codec that cannot carry it")
		return
	}
	p, err := clusterclient.Invoke[point, point](t.Context(), c, "swap", point{1, 2})
	require.NoError(t, err, "swap")
	require.Equal(t, point{2, 1}, p, "swap")
	q, err := clusterclient.Invoke[*point, *point](t.Context(), c, "swap pointer", &point{3, 4})
	require.NoError(t, err, "swap pointer")
	require.Equal(t, point{4, 3}, *q, "swap pointer")
	p, err = clusterclient.Invoke[[]byte, point](t.Context(), c, "text to point", nil)
	require.NoError(t, err, "text to point")
	require.Equal(t, point{1, 2}, p, "text to point")
	p, err = clusterclient.Invoke[*testprotov1.EchoRequest, point](t.Context(), c, "message to point", &testprotov1.EchoRequest{})
	require.NoError(t, err, "message to point")
	require.Equal(t, point{1, 2}, p, "message to point")
	text, err := clusterclient.Invoke[point, []byte](t.Context(), c, "point to text", point{})
	require.NoError(t, err, "point to text")
	require.Equal(t, "p", string(text), "point to text")
}

// TestInvokeOfWrongKind passes what the handler does not take, and asks for
// what it does not give.
func TestInvokeOfWrongKind(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		_, err := clusterclient.Invoke[string, point](t.Context(), e.Client, "swap", "no point")
		require.Equal(t, codes.InvalidArgument, status.Code(err), "an argument of another kind: %v", err)
		require.True(t, clusterclient.FromLeader(err), "an argument of another kind: FromLeader(%v)", err)

		_, err = clusterclient.Invoke[point, string](t.Context(), e.Client, "swap", point{})
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "a result of another kind")
		require.False(t, clusterclient.FromLeader(err), "a result of another kind: FromLeader(%v)", err)

		_, err = clusterclient.Invoke[chan int, point](t.Context(), e.Client, "swap", nil)
		require.ErrorIs(t, err, clusterclient.ErrInvalid, "an argument that no codec takes")
	}, offering(roundTrips))
}

// TestInvokeRunsInTheLeader checks who runs a call and whose it is.
func TestInvokeRunsInTheLeader(t *testing.T) {
	callers := make(map[string]bool)
	eachRole(t, func(t *testing.T, e *env) {
		clear(callers)
		nodes := append(e.Cluster.Followers(), e.Cluster.Leader())
		for range 2 {
			for _, n := range nodes {
				require.NoError(t, n.Invoke(t.Context(), "who", nil, nil))
			}
		}
		require.Len(t, callers, len(nodes), "instances that the handler saw")
		require.Equal(t, 1, e.Up.Opens(), "upstreams opened")
	}, offering(func(r *leader.Registry) {
		leader.Handle(r, "who", func(ctx context.Context, _ any) (any, error) {
			p, ok := leader.CallerFrom(ctx)
			if !ok || p.PID == 0 || p.Instance == "" {
				return nil, errors.New("nobody calls")
			}
			callers[p.Instance] = true
			return nil, nil
		})
	}))
	_, ok := leader.CallerFrom(t.Context())
	require.False(t, ok, "CallerFrom outside of a handler")
}

func TestInvokeUnknownMethod(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		err := e.Client.Invoke(t.Context(), "nosuch", nil, nil)
		require.Equal(t, codes.Unimplemented, status.Code(err), "%v", err)
		require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		for _, name := range []string{"", "\xff"} {
			err = e.Client.Invoke(t.Context(), name, nil, nil)
			require.ErrorIs(t, err, clusterclient.ErrInvalid, "Invoke(%q)", name)
			require.False(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
		}
	})
}

// okError is an error that claims to be none.
type okError struct{}

func (okError) Error() string { return "not so ok" }

func (okError) GRPCStatus() *status.Status {
	st, _ := status.New(codes.NotFound, "not so ok").WithDetails(&testprotov1.EchoRequest{Text: "detail"})
	p := st.Proto()
	p.Code = int32(codes.OK)
	return status.FromProto(p)
}

// TestHandlerErrorCrosses checks that a caller sees the status that gRPC would
// have made of the handler's error.
func TestHandlerErrorCrosses(t *testing.T) {
	detailed, err := status.New(codes.NotFound, "no such pet").WithDetails(&testprotov1.EchoRequest{Text: "detail"})
	require.NoError(t, err)
	tests := []struct {
		name string
		err  error
		want *status.Status
	}{
		{"plain", errors.New("boom"), status.New(codes.Unknown, "boom")},
		{"empty text", errors.New(""), status.New(codes.Unknown, "")},
		{"status", status.Error(codes.PermissionDenied, "not you"), status.New(codes.PermissionDenied, "not you")},
		{"details", detailed.Err(), detailed},
		{"wrapped", errors.Join(detailed.Err()), detailed},
		{"deadline", context.DeadlineExceeded, status.New(codes.DeadlineExceeded, "context deadline exceeded")},
		{"canceled", context.Canceled, status.New(codes.Canceled, "context canceled")},
		{"not UTF-8", errors.New("a\xffb"), status.New(codes.Unknown, "a\uFFFDb")},
		{"code of nobody", status.Error(codes.Code(99), "odd"), status.New(codes.Code(99), "odd")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			eachRole(t, func(t *testing.T, e *env) {
				err := e.Client.Invoke(t.Context(), "fail", nil, nil)
				got, ok := status.FromError(err)
				require.True(t, ok, "status.FromError(%v)", err)
				want := test.want.Proto()
				if test.name == "wrapped" {
					want.Message = test.err.Error() // as status.FromError does it
				}
				require.True(t, proto.Equal(want, got.Proto()), "status of the error = %v, want %v", got, want)
				require.True(t, clusterclient.FromLeader(err), "FromLeader(%v)", err)
			}, offering(func(r *leader.Registry) {
				leader.Handle(r, "fail", func(context.Context, any) (any, error) { return nil, test.err })
			}))
		})
	}
}

func TestHandlerErrorThatClaimsToBeNone(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		err := e.Client.Invoke(t.Context(), "fail", nil, nil)
		require.Equal(t, codes.Unknown, status.Code(err), "%v", err)
		require.Contains(t, err.Error(), "not so ok")
	}, offering(func(r *leader.Registry) {
		leader.Handle(r, "fail", func(context.Context, any) (any, error) { return nil, okError{} })
	}))
}

func TestHandlerPanics(t *testing.T) {
	eachRole(t, func(t *testing.T, e *env) {
		for range 3 {
			err := e.Client.Invoke(t.Context(), "panic", nil, nil)
			require.Equal(t, codes.Internal, status.Code(err), "%v", err)
			require.Contains(t, err.Error(), "oh no")
			p, err := clusterclient.Invoke[point, point](t.Context(), e.Client, "swap", point{1, 2})
			require.NoError(t, err, "the call after the panic")
			require.Equal(t, point{2, 1}, p)
		}
		require.Equal(t, 1, e.Up.Opens(), "upstreams opened")
	}, offering(func(r *leader.Registry) {
		roundTrips(r)
		leader.Handle(r, "panic", func(context.Context, any) (any, error) { panic("oh no") })
	}))
}

// TestInvokeConcurrently has 10,000 calls under way at once.
func TestInvokeConcurrently(t *testing.T) {
	const calls = 10_000
	eachRole(t, func(t *testing.T, e *env) {
		var wg sync.WaitGroup
		errs := make([]error, calls)
		for i := range calls {
			wg.Go(func() {
				p, err := clusterclient.Invoke[point, point](t.Context(), e.Client, "swap", point{i, -i})
				if err == nil && p != (point{-i, i}) {
					err = errors.New("another call's result")
				}
				errs[i] = err
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
	}, offering(func(r *leader.Registry) {
		gate := make(chan struct{})
		var once sync.Once
		leader.Handle(r, "swap", func(ctx context.Context, p point) (point, error) {
			once.Do(func() {
				go func() {
					synctest.Wait() // until all of them are here
					close(gate)
				}()
			})
			select {
			case <-gate:
				return p.swap(), nil
			case <-ctx.Done():
				return point{}, ctx.Err()
			case <-time.After(time.Second):
				return point{}, errors.New("the others do not come")
			}
		})
	}))
}
