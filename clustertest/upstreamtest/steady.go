package upstreamtest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/clusterclient/clusterclient/leader"
)

// checkVersionStays watches what does not change again, by the same instance
// and by another one, as after a takeover: in another version it would be news
// to every subscriber.
func checkVersionStays(e *env) error {
	const key = "upstreamtest.version"
	first := e.watch(key)
	for n := range 3 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
		if err := first.newest(); err != nil {
			return err
		}
	}
	if err := first.end(); err != nil {
		return err
	}
	if err := sameVersionAs(first, e.watch(key), "another Watch"); err != nil {
		return err
	}
	up, err := e.open()
	if err != nil {
		return err
	}
	other := e.watchWith(up, key)
	return errors.Join(sameVersionAs(first, other, "a Watch of another instance"), other.end(), e.close(up))
}

func sameVersionAs(first, then *observer, what string) error {
	if err := then.newest(); err != nil {
		return err
	}
	_, want := first.latest()
	if _, have := then.latest(); have != want {
		return fmt.Errorf("%s reported version %q of what a Watch before had reported as %q", what, have, want)
	}
	return nil
}

// checkCloseAtOnce closes an instance as a leader does, when its watches have
// been told to end, and not all of them have.
func checkCloseAtOnce(e *env) error {
	up, err := e.open()
	if err != nil {
		return err
	}
	var observers []*observer
	for i := range 20 {
		observers = append(observers, e.watchWith(up, fmt.Sprintf("upstreamtest.close-%d", i)))
	}
	for _, o := range observers {
		err = errors.Join(err, o.newest())
	}
	for _, o := range observers {
		o.cancel()
	}
	err = errors.Join(err, e.close(up))
	for _, o := range observers {
		err = errors.Join(err, o.end())
	}
	return err
}

// checkTogether does all that an instance can from several goroutines at once.
func checkTogether(e *env) error {
	const users, rounds = 8, 5
	key := func(i int) string { return fmt.Sprintf("upstreamtest.together-%d", i) }
	var observers []*observer
	for i := range users {
		observers = append(observers, e.watch(key(i)))
	}
	var wg sync.WaitGroup
	errs := make([]error, users)
	for i := range users {
		wg.Go(func() {
			for n := range rounds {
				errs[i] = errors.Join(errs[i], e.useOnce(i, key(i), n))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, o := range observers {
		if err := o.newest(); err != nil {
			return err
		}
	}
	return nil
}

// useOnce is what one of several users of an instance does.
func (e *env) useOnce(user int, key string, n int) (err error) {
	if p, ok := e.up.(leader.Publisher); ok {
		err = e.publish(p, key, number(n))
	}
	if _, ok := e.up.(leader.Registrar); ok {
		r := registration("owner", uint64(user)+1, key+"-registration", number(n)) //nolint:gosec // it is not negative
		err = errors.Join(err, e.register(e.up, r), e.present(r), e.deregister(e.up, r), e.absent(r))
	}
	if g, ok := e.up.(leader.Getter); ok {
		ctx, cancel := e.step()
		defer cancel()
		_, gerr := g.Get(ctx, key)
		err = errors.Join(err, gerr)
	}
	return err
}
