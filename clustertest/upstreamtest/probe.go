package upstreamtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient/leader"
)

// checkProbe probes before, during and after an outage.
func checkProbe(e *env) error {
	p, ok := e.up.(leader.Prober)
	if !ok {
		return skip("the upstream is no Prober")
	}
	if err := probe(e.ctx, p); err != nil {
		return fmt.Errorf("Probe = %w, want nil", err)
	}
	r, ok := e.h.(Restarter)
	if !ok {
		return nil
	}
	if err := e.stop(r); err != nil {
		return err
	}
	if probe(e.ctx, p) == nil {
		return errors.New("Probe of an upstream that is down = nil")
	}
	if err := e.start(r); err != nil {
		return err
	}
	began := time.Now()
	for {
		err := probe(e.ctx, p)
		if err == nil || e.ctx.Err() != nil {
			return err
		}
		if time.Since(began) > patience {
			return fmt.Errorf("Probe, %v after the upstream has come back, = %w", patience, err)
		}
		time.Sleep(quiet)
	}
}

// probe does what a leader does.
func probe(ctx context.Context, p leader.Prober) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return p.Probe(ctx)
}
