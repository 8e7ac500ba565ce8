package leader

import (
	"context"

	"google.golang.org/grpc"
)

// An Interceptor runs around the handler of each call and stream of a
// [Registry]. It calls next once, with its own ctx or one that is derived from
// it, and returns its error or another one. [CallerFrom], and gRPC's functions
// for handlers, work on ctx.
type Interceptor func(ctx context.Context, method string, next func(context.Context) error) error

// Intercept makes i run around every handler, registered before or after. The
// first one added is the outermost.
func (r *Registry) Intercept(i Interceptor) {
	if i == nil {
		r.fail("an interceptor is nil")
		return
	}
	r.interceptors = append(r.interceptors, i)
}

// intercept puts the interceptors around the handlers, once all are there: a
// registry without any costs its calls nothing.
func (r *Registry) intercept() {
	for n := len(r.interceptors) - 1; n >= 0; n-- {
		for _, m := range r.unary {
			m.intercept(r.interceptors[n])
		}
		for name, m := range r.streams {
			m.intercept(name, r.interceptors[n])
		}
	}
}

func (m *method) intercept(i Interceptor) {
	invoke := m.invoke
	m.invoke = func(ctx context.Context, decode func(any) error) (out any, err error) {
		err = i(ctx, m.name, func(ctx context.Context) (err error) {
			out, err = invoke(ctx, decode)
			return err
		})
		return out, err
	}
	if m.bytes == nil {
		return
	}
	plain := m.bytes
	m.bytes = func(ctx context.Context, arg []byte) (out []byte, err error) {
		err = i(ctx, m.name, func(ctx context.Context) (err error) {
			out, err = plain(ctx, arg)
			return err
		})
		return out, err
	}
}

func (m *streamMethod) intercept(name string, i Interceptor) {
	handler := m.handler
	m.handler = func(impl any, stream grpc.ServerStream) error {
		return i(stream.Context(), name, func(ctx context.Context) error {
			return handler(impl, &serverStream{ServerStream: stream, ctx: ctx})
		})
	}
}
