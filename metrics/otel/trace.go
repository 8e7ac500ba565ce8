package otel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/clusterclient/clusterclient/leader"
)

// A Tracing carries traces through calls, with the propagation of p and spans
// of the tracer provider tp. Both are given, and nothing global is used.
type Tracing struct {
	tracer trace.Tracer
	p      propagation.TextMapPropagator
}

// Trace returns a Tracing. The usual propagator is [propagation.TraceContext].
func Trace(tp trace.TracerProvider, p propagation.TextMapPropagator) *Tracing {
	return &Tracing{tracer: tp.Tracer(scope), p: p}
}

// Conn returns c with a span around each call and stream, which the handler
// is told of. c is a clusterclient.Client, and what is returned goes where it
// would: into the function that makes a generated client.
func (t *Tracing) Conn(c grpc.ClientConnInterface) grpc.ClientConnInterface { return &conn{c, t} }

// Handlers puts a span around each handler of r: that of a caller with
// [Tracing.Conn] is its parent, and it is that of what the handler does
// upstream, with the context it was given.
//
//	func (u *upstream) RegisterMethods(r *leader.Registry) {
//		u.Upstream.RegisterMethods(r)
//		tracing.Handlers(r)
//	}
func (t *Tracing) Handlers(r *leader.Registry) {
	r.Intercept(func(ctx context.Context, method string, next func(context.Context) error) error {
		md, _ := metadata.FromIncomingContext(ctx)
		ctx, span := t.tracer.Start(t.p.Extract(ctx, carrier(md)), method,
			trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes["method"].String(method)))
		if caller, ok := leader.CallerFrom(ctx); ok {
			span.SetAttributes(attribute.Int("clusterclient.caller.pid", caller.PID))
		}
		err := next(ctx)
		end(span, err)
		return err
	})
}

type conn struct {
	grpc.ClientConnInterface
	t *Tracing
}

func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, span := c.t.start(ctx, method)
	err := c.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
	end(span, err)
	return err
}

// NewStream puts the span around the opening of the stream: a stream may be
// left without ever being read to its end.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, span := c.t.start(ctx, method)
	s, err := c.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	end(span, err)
	return s, err
}

// start begins the span of a caller and puts it in the call's metadata.
func (t *Tracing) start(ctx context.Context, method string) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes["method"].String(method)))
	md, _ := metadata.FromOutgoingContext(ctx)
	md = md.Copy()
	if md == nil {
		md = metadata.MD{}
	}
	t.p.Inject(ctx, carrier(md))
	return metadata.NewOutgoingContext(ctx, md), span
}

func end(span trace.Span, err error) {
	span.SetAttributes(attributes["code"].String(status.Code(err).String()))
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// carrier is the metadata of a call as propagators see it.
type carrier metadata.MD

var _ propagation.TextMapCarrier = carrier(nil)

// Get returns the first value of key.
func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the values of key.
func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys returns all keys.
func (c carrier) Keys() []string {
	var keys []string
	for key := range c {
		keys = append(keys, key)
	}
	return keys
}
