package upstreamtest

import (
	"fmt"
	"time"
)

const noRestarter = skip("the harness is no Restarter")

// stop takes the upstream away.
func (e *env) stop(r Restarter) error {
	ctx, cancel := e.step()
	defer cancel()
	e.disturbed.Store(true)
	if err := r.Stop(ctx); err != nil {
		return fmt.Errorf("harness: Stop: %w", err)
	}
	return nil
}

// start brings the upstream back.
func (e *env) start(r Restarter) error {
	ctx, cancel := e.step()
	defer cancel()
	if err := r.Start(ctx); err != nil {
		return fmt.Errorf("harness: Start: %w", err)
	}
	return nil
}

func (e *env) restart(r Restarter) error {
	if err := e.stop(r); err != nil {
		return err
	}
	return e.start(r)
}

// checkRestart changes values as soon as the upstream is back, when a Watch
// may not be yet.
func checkRestart(e *env) error {
	r, ok := e.h.(Restarter)
	if !ok {
		return noRestarter
	}
	const key, still = "upstreamtest.restart", "upstreamtest.restart-still"
	if err := e.set(still, number(0)); err != nil {
		return err
	}
	o, unchanged := e.watch(key), e.watch(still)
	for n := range 2 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return err
		}
		if err := e.restart(r); err != nil {
			return err
		}
		if err := e.delete(key); err != nil {
			return err
		}
		if err := o.newest(); err != nil {
			return fmt.Errorf("after restart %d: %w", n+1, err)
		}
	}
	if err := e.set(still, number(1)); err != nil {
		return err
	}
	return unchanged.newest()
}

// checkRestartCompacted makes the history that a Watch would resume from
// vanish during the outage.
func checkRestartCompacted(e *env) error {
	r, ok := e.h.(Restarter)
	if !ok {
		return noRestarter
	}
	compactor, ok := e.h.(Compactor)
	if !ok {
		return skip("the harness is no Compactor")
	}
	const key = "upstreamtest.restart-compacted"
	o := e.watch(key)
	if err := o.newest(); err != nil {
		return err
	}
	if err := e.restart(r); err != nil {
		return err
	}
	for n := range 5 {
		if err := e.set(key, number(n)); err != nil {
			return err
		}
	}
	if err := e.compact(compactor); err != nil {
		return err
	}
	if err := o.newest(); err != nil {
		return err
	}
	if err := e.set(key, number(5)); err != nil {
		return err
	}
	return o.newest()
}

// checkWatchDuringOutage begins to watch while there is nobody to ask.
func checkWatchDuringOutage(e *env) error {
	r, ok := e.h.(Restarter)
	if !ok {
		return noRestarter
	}
	const key = "upstreamtest.outage"
	if err := e.set(key, number(1)); err != nil {
		return err
	}
	if err := e.stop(r); err != nil {
		return err
	}
	o := e.watch(key)
	time.Sleep(quiet) // lets Watch find out
	if err := e.start(r); err != nil {
		return err
	}
	return o.newest()
}

// checkEndDuringOutage ends a Watch that cannot talk to anybody.
func checkEndDuringOutage(e *env) error {
	r, ok := e.h.(Restarter)
	if !ok {
		return noRestarter
	}
	o := e.watch("upstreamtest.outage-end")
	if err := o.newest(); err != nil {
		return err
	}
	if err := e.stop(r); err != nil {
		return err
	}
	late := e.watch("upstreamtest.outage-late")
	time.Sleep(quiet) // lets both find out
	if err := o.end(); err != nil {
		return err
	}
	if err := late.end(); err != nil {
		return err
	}
	return e.start(r)
}
