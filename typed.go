package clusterclient

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/clusterclient/clusterclient/codec"
	"github.com/clusterclient/clusterclient/follower"
	"github.com/clusterclient/clusterclient/internal/errs"
	"github.com/clusterclient/clusterclient/internal/typed"
)

// Watch subscribes to key and yields its values, decoded, newest first seen,
// until ctx ends, the client is closed, or the loop is left, which ends the
// subscription. T is a plain Go value in the client's codec, a protobuf message
// or []byte.
//
// A value that cannot be a T is yielded as an error: one that is [ErrDeleted]
// for a key that does not exist, [ErrInvalid] for bytes that do not decode, and
// [ErrStale] for one that [follower.MaxStale] forbids. So is, with [ErrLimit]
// or [ErrTooLarge], that the leader does not serve the key, as
// [follower.Subscription.Next] says. The loop goes on after those. Any other
// error is the last pair.
func Watch[T any](ctx context.Context, c *Client, key string, opts ...follower.SubscribeOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		sub, err := c.Subscribe(ctx, key, append(slices.Clip(opts), follower.ReuseData())...)
		if err != nil {
			yield(zero, errs.In("watch", "", err))
			return
		}
		defer func() { _ = sub.Close() }()
		for {
			v, err := sub.Next(ctx)
			ended := err != nil && !errs.GoesOn(err)
			t := zero
			if err == nil {
				t, err = decode[T](c, "watch", v)
			}
			if !yield(t, errs.In("watch", "", err)) || ended {
				return
			}
		}
	}
}

// Get returns the newest value of key, decoded as [Watch] does it. It waits for
// the first value, within ctx, and as long as a call without a deadline waits.
// The value may be stale; [follower.Follower.Get] tells.
func Get[T any](ctx context.Context, c *Client, key string, opts ...follower.SubscribeOption) (T, error) {
	v, err := c.Get(ctx, key, opts...)
	if err != nil {
		var zero T
		return zero, err
	}
	return decode[T](c, "get", v)
}

// Invoke runs method in the leader's process with req and returns its result.
// Req and Resp are plain Go values in the client's codec, protobuf messages or
// []byte, as for the handler. See [follower.Follower.Invoke] for the errors.
func Invoke[Req, Resp any](ctx context.Context, c *Client, method string, req Req) (Resp, error) {
	return typed.Decode[Resp](func(target any) error {
		return c.Invoke(ctx, method, req, target)
	})
}

// decode is the end of op.
func decode[T any](c *Client, op string, v follower.Value) (T, error) {
	var zero T
	if v.Deleted {
		return zero, &Error{Code: errs.Unspecified, Op: op, Name: c.name, Key: v.Key, Cause: ErrDeleted}
	}
	t, err := typed.Decode[T](func(target any) error {
		return codec.For(target, c.opts.codec).Unmarshal(v.Data, target)
	})
	if err != nil {
		err = &Error{Code: errs.Invalid, Op: op, Name: c.name, Key: v.Key, Cause: fmt.Errorf("version %q is no %v: %w", v.Version, reflect.TypeFor[T](), err)}
	}
	return t, err
}
