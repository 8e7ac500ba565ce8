package follower

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/wire"
	clusterclientv1 "github.com/clusterclient/clusterclient/proto/clusterclient/v1"
)

var _ grpc.ClientConnInterface = (*Follower)(nil)

// Invoke runs method in the leader's process with args and decodes its result
// into reply, a pointer or a protobuf message; nil drops it. The method is one
// that the leader's upstream registered: a plain name, or the full name of a
// gRPC method, so that generated stubs work over a Client.
//
// ctx's deadline, cancellation and outgoing metadata reach the handler. Of the
// call options grpc.Header, grpc.Trailer and grpc.OnFinish have an effect.
//
// An error is one of:
//   - the handler's, as a gRPC status with its code, message and details;
//   - ErrOutcomeUnknown, when the leader was lost after it may have started
//     the call. Methods registered as idempotent are called again with the
//     next leader instead;
//   - ctx's, when it ended; ErrNoLeader is found in it, too, when no leader
//     was there to take the call;
//   - ErrTooLarge, ErrInvalid or ErrClosed.
func (f *Follower) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	err := f.invoke(ctx, method, args, reply, opts)
	f.ends.count(err)
	for _, opt := range opts {
		if o, ok := opt.(grpc.OnFinishCallOption); ok {
			o.OnFinish(err)
		}
	}
	return err
}

func (f *Follower) invoke(ctx context.Context, method string, args, reply any, opts []grpc.CallOption) error {
	if err := checkReply(reply); err != nil { // before anything is done
		return f.fail(errs.Invalid, "invoke", abridged(method), err)
	}
	a, err := f.call(ctx, method, args, false)
	if err != nil {
		return err
	}
	defer f.release(a)
	r := &a.reply
	for _, opt := range opts {
		switch o := opt.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = wire.MetadataFrom(r.Header)
		case grpc.TrailerCallOption:
			*o.TrailerAddr = wire.MetadataFrom(r.Trailer)
		}
	}
	if err := f.answer("invoke", method, r); err != nil || reply == nil {
		return err
	}
	c, ok := codec.Named(r.Codec, f.cfg.Codec)
	if !ok {
		return f.fail(errs.Invalid, "invoke", method, fmt.Errorf("the result came in codec %q, which this client does not have", r.Codec))
	}
	if err := c.Unmarshal(r.Payload, reply); err != nil {
		return f.fail(errs.Invalid, "invoke", method, fmt.Errorf("decode the result: %w", err))
	}
	return nil
}

// checkReply refuses what no result can be decoded into.
func checkReply(reply any) error {
	switch v := reflect.ValueOf(reply); {
	case reply == nil:
		return nil
	case v.Kind() != reflect.Pointer:
		return fmt.Errorf("the reply is a %T; the result is decoded into a pointer", reply)
	case v.IsNil():
		return fmt.Errorf("the reply is a %T that is nil; nil itself drops the result", reply)
	}
	return nil
}

// InvokeOneway runs method in the leader's process and returns once the leader
// has accepted the call, without waiting for its end. A handler that fails
// harms nobody; the leader counts and logs it. It goes on when this process
// ends. The error is that of handing the call over, as for Invoke.
func (f *Follower) InvokeOneway(ctx context.Context, method string, args any) error {
	a, err := f.call(ctx, method, args, true)
	if err == nil {
		err = f.answer("invoke", method, &a.reply)
		f.release(a)
	}
	f.ends.count(err)
	return err
}

// call makes one call and returns the attempt that was answered, to be
// released.
func (f *Follower) call(ctx context.Context, method string, args any, oneway bool) (*attempt, error) {
	if err := wire.CheckMethod(method); err != nil {
		return nil, f.fail(errs.Invalid, "invoke", abridged(method), err)
	}
	c := codec.For(args, f.cfg.Codec)
	data, err := codec.Encode(c, args)
	if err != nil {
		return nil, f.fail(errs.Invalid, "invoke", method, fmt.Errorf("encode the argument: %w", err))
	}
	if err := f.checkSize("invoke", method, data); err != nil {
		return nil, err
	}
	q := request{op: "invoke", key: method, again: ifIdempotent}
	q.call.Method, q.call.Codec, q.call.Payload, q.call.Oneway = method, c.Name(), data, oneway
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		q.call.Metadata = wire.MetadataTo(md)
	}
	if !q.call.Fits() {
		return nil, f.fail(errs.TooLarge, "invoke", method, errors.New("the argument with its metadata"))
	}
	a, _, err := f.request(ctx, &q)
	return a, err
}

// Publish writes data, which may be empty but not nil, as the value of key and
// returns when the upstream has acknowledged it, or said why not: such an error
// is a gRPC status with the upstream's text. When the leader is lost meanwhile it fails with
// ErrOutcomeUnknown; writing again might overwrite somebody else's newer value.
func (f *Follower) Publish(ctx context.Context, key string, data []byte) error {
	if err := cmp.Or(f.checkKey("publish", key), f.checkValue("publish", key, data)); err != nil {
		return err
	}
	_, err := f.do(ctx, &request{op: "publish", key: key, frame: func(id uint64, deadline int64) *clusterclientv1.RequestFrame {
		return &clusterclientv1.RequestFrame{Kind: &clusterclientv1.RequestFrame_Publish{
			Publish: &clusterclientv1.Publish{Id: id, Key: key, Data: data, Deadline: deadline},
		}}
	}})
	return err
}
