package upstreamtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

const noPublisher = skip("the upstream is no Publisher")

func (e *env) publish(p leader.Publisher, key string, data []byte) error {
	return e.write(key, state{data: data}, func(ctx context.Context) error {
		mine := bytes.Clone(data)
		defer clear(mine) // it is ours again, and must not be theirs any more
		if err := p.Publish(ctx, key, mine); err != nil {
			return fmt.Errorf("Publish(%q): %w", key, err)
		}
		return nil
	})
}

// checkPublish looks for each value as soon as it is acknowledged.
func checkPublish(e *env) error {
	p, ok := e.up.(leader.Publisher)
	if !ok {
		return noPublisher
	}
	const key = "upstreamtest.publish"
	o := e.watch(key)
	for _, want := range [][]byte{number(1), number(2), nil, bytes.Repeat([]byte{'p'}, 1<<20)} {
		if err := e.publish(p, key, want); err != nil {
			return err
		}
		if err := e.verify(key, state{data: want}); err != nil {
			return fmt.Errorf("after Publish: %w", err)
		}
		if err := o.newest(); err != nil {
			return err
		}
	}
	return nil
}

// verify compares what the side door says of key.
func (e *env) verify(key string, want state) error {
	ctx, cancel := e.step()
	defer cancel()
	data, exists, err := e.h.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("harness: Get(%q): %w", key, err)
	}
	if have := (state{data: data, deleted: !exists}); !have.equal(want) {
		return fmt.Errorf("the upstream has %v for %q, want %v", have, key, want)
	}
	return nil
}

// checkPublishFails demands an error where there can be no acknowledgement.
func checkPublishFails(e *env) error {
	p, ok := e.up.(leader.Publisher)
	if !ok {
		return noPublisher
	}
	const key = "upstreamtest.publish-fails"
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if err := p.Publish(ctx, key, number(1)); err == nil {
		return errors.New("Publish with a context that had ended = nil, want an error")
	}
	r, ok := e.h.(Restarter)
	if !ok {
		return nil
	}
	if err := e.stop(r); err != nil {
		return err
	}
	if err := timesOut(e.ctx, "Publish", func(ctx context.Context) error { return p.Publish(ctx, key, number(2)) }); err != nil {
		return err
	}
	return e.start(r)
}

// timesOut checks that call, of an upstream that is down, fails in time.
func timesOut(ctx context.Context, what string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			return fmt.Errorf("%s to an upstream that is down = nil, want an error", what)
		}
		return nil
	case <-time.After(time.Second + promptly):
		return fmt.Errorf("%s did not return within %v of its deadline", what, promptly)
	}
}
