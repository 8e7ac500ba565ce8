package upstreamtest

import (
	"context"
	"errors"
	"fmt"

	"github.com/clusterclient/clusterclient/leader"
)

// checkGet compares what Get returns with what Watch has reported: a leader
// takes any difference for a watch that has gone silent.
func checkGet(e *env) error {
	g, ok := e.up.(leader.Getter)
	if !ok {
		return skip("the upstream is no Getter")
	}
	const key = "upstreamtest.get"
	o := e.watch(key)
	for _, change := range []func() error{
		func() error { return nil },
		func() error { return e.set(key, number(1)) },
		func() error { return e.set(key, nil) },
		func() error { return e.delete(key) },
		func() error { return e.set(key, number(2)) },
	} {
		if err := change(); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return err
		}
		if err := e.getsAs(g, o); err != nil {
			return err
		}
	}
	return checkGetFails(e, g, key)
}

// getsAs checks that Get agrees with what o has seen.
func (e *env) getsAs(g leader.Getter, o *observer) error {
	ctx, cancel := e.step()
	defer cancel()
	u, err := g.Get(ctx, o.key)
	if err != nil {
		return fmt.Errorf("Get(%q): %w", o.key, err)
	}
	want, version := o.latest()
	switch have := stateOf(u); {
	case !have.equal(want):
		return fmt.Errorf("Get(%q) = %v, and Watch has reported %v", o.key, have, want)
	case !u.Deleted && u.Version != version:
		return fmt.Errorf("Get(%q) = version %q, and Watch has reported %q", o.key, u.Version, version)
	}
	return nil
}

func checkGetFails(e *env, g leader.Getter, key string) error {
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := g.Get(ctx, key); err == nil {
		return errors.New("Get with a context that had ended = nil, want an error")
	}
	r, ok := e.h.(Restarter)
	if !ok {
		return nil
	}
	if err := e.stop(r); err != nil {
		return err
	}
	get := func(ctx context.Context) error {
		_, err := g.Get(ctx, key)
		return err
	}
	if err := timesOut(e.ctx, "Get", get); err != nil {
		return err
	}
	return e.start(r)
}
