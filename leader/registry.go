package leader

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"google.golang.org/grpc"

	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/patience"
	"github.com/clusterclient/clusterclient/internal/typed"
	"github.com/clusterclient/clusterclient/internal/wire"
)

// A Registry is the list of methods that the processes of a cluster may
// invoke. [Service.RegisterMethods] fills it in; it is not safe for concurrent
// use, and registering later has no effect.
//
// It is a [grpc.ServiceRegistrar], so that generated code registers with it:
//
//	pb.RegisterGreeterServer(registry, impl)
//
// When the leadership ends in good order what runs may finish, for up to 5 s.
// Then its context ends, and nothing can be sent or received over a stream any
// more: Send and Recv fail, also those that wait. A handler that goes on all the
// same holds the next leader up for 5 s more, and Close of this client names it.
type Registry struct {
	unary   map[string]*method
	streams map[string]*streamMethod
	errs    []error

	interceptors []Interceptor
}

var _ grpc.ServiceRegistrar = (*Registry)(nil)

// method is a unary method. invoke decodes its argument with decode; bytes,
// where it is not nil, does the same for arguments and results that travel as
// they are.
type method struct {
	name       string
	idempotent bool
	ends       [tallyShards]codeTally // of its calls
	invoke     func(ctx context.Context, decode func(any) error) (any, error)
	bytes      func(ctx context.Context, arg []byte) ([]byte, error)
	pace       pace
	limit      limit
	shared     *sharing // nil unless calls may share runs
}

// streamMethod is a streaming method of a gRPC service.
type streamMethod struct {
	handler grpc.StreamHandler
	impl    any
}

func newRegistry() *Registry {
	return &Registry{unary: map[string]*method{}, streams: map[string]*streamMethod{}}
}

// methodsOf returns what up lets others invoke.
func methodsOf(up Upstream) (*Registry, error) {
	r := newRegistry()
	if s, ok := up.(Service); ok {
		err := patience.Run("it", func() error { s.RegisterMethods(r); return nil })
		if err != nil {
			return nil, fmt.Errorf("register methods: %w", err)
		}
	}
	r.intercept()
	return r, r.err()
}

// A MethodOption changes how the leader treats one method.
type MethodOption func(*method)

// Idempotent says that a method may run more than once for one call. A call
// of it whose leader dies is made again with the next leader, within the
// caller's deadline, instead of ending with ErrOutcomeUnknown.
func Idempotent() MethodOption {
	return func(m *method) { m.idempotent = true }
}

// Handle registers fn as method. Req and Resp are plain Go values, protobuf
// messages or []byte; the caller passes the same kinds. fn runs with the
// caller's deadline, cancellation and metadata; an error that is a gRPC status
// reaches the caller as it is, any other as Unknown with the same text. A panic
// is answered with Internal.
//
// fn is called from many goroutines at once and may block. Calls that take a
// few microseconds are run by the goroutine that received them, one after the
// other, for that is much faster than a goroutine for each; once one takes
// longer, another goroutine goes on with those behind it, within a
// millisecond.
//
// What cannot be called is reported when the leadership starts: Create fails
// with an error that is ErrInvalid. That is a name registered twice, or one that
// is empty, not UTF-8 or longer than 4096 bytes, and a handler or option that is
// nil.
func Handle[Req, Resp any](r *Registry, name string, fn func(context.Context, Req) (Resp, error), opts ...MethodOption) {
	if fn == nil {
		r.fail("method %q has no handler", name)
		return
	}
	plain, _ := any(fn).(func(context.Context, []byte) ([]byte, error))
	r.add(&method{name: name, bytes: plain, invoke: func(ctx context.Context, decode func(any) error) (any, error) {
		req, err := typed.Decode[Req](decode)
		if err != nil {
			return nil, err
		}
		return fn(ctx, req)
	}}, opts...)
}

// Quick says that a handler takes microseconds and does not block, so that its
// calls run where they are received from the first one on. It is never needed:
// the leader finds out by itself, and changes its mind about a method that is
// not quick after all.
func Quick() MethodOption {
	return func(m *method) { m.pace.assume() }
}

// RegisterService registers the methods of a gRPC service, streaming ones
// included. Generated code calls it. [Registry.Configure] gives the unary ones
// options afterwards.
func (r *Registry) RegisterService(desc *grpc.ServiceDesc, impl any) {
	if want := reflect.TypeOf(desc.HandlerType); want != nil && (impl == nil || !reflect.TypeOf(impl).Implements(want.Elem())) {
		r.fail("service %q: %T is not a %v", desc.ServiceName, impl, want.Elem())
		return
	}
	for _, m := range desc.Methods {
		name := fmt.Sprintf("/%s/%s", desc.ServiceName, m.MethodName)
		r.add(&method{name: name, invoke: func(ctx context.Context, decode func(any) error) (any, error) {
			return m.Handler(impl, ctx, decode, nil)
		}})
	}
	for _, s := range desc.Streams {
		name := fmt.Sprintf("/%s/%s", desc.ServiceName, s.StreamName)
		if r.taken(name) {
			continue
		}
		r.streams[name] = &streamMethod{handler: s.Handler, impl: impl}
	}
}

// Configure applies opts to a method that is registered already, by its name
// or, for a gRPC service, its full name such as "/pkg.Service/Method".
func (r *Registry) Configure(name string, opts ...MethodOption) {
	m, ok := r.unary[name]
	if !ok {
		r.fail("method %q is configured but not registered", name)
		return
	}
	r.apply(m, opts)
}

// Unary returns the names of the methods registered so far, without those that
// are streams.
func (r *Registry) Unary() []string { return slices.Sorted(maps.Keys(r.unary)) }

func (r *Registry) add(m *method, opts ...MethodOption) {
	if r.taken(m.name) {
		return
	}
	r.apply(m, opts)
	r.unary[m.name] = m
}

func (r *Registry) apply(m *method, opts []MethodOption) {
	for i, opt := range opts {
		if opt == nil {
			r.fail("method %q: option %d is nil", m.name, i)
			return
		}
		opt(m)
	}
}

func (r *Registry) taken(name string) bool {
	if err := wire.CheckMethod(name); err != nil {
		r.fail("method %.64q: %w", name, err)
		return true
	}
	if r.unary[name] != nil || r.streams[name] != nil {
		r.fail("method %q is registered twice", name)
		return true
	}
	return false
}

func (r *Registry) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *Registry) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	return &errs.Error{Code: errs.Invalid, Op: "register methods", Cause: errors.Join(r.errs...)}
}

func (r *Registry) idempotent() []string {
	var names []string
	for name, m := range r.unary {
		if m.idempotent {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
