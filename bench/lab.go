package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// maxProcesses bounds how many children a scenario may have at once.
const maxProcesses = 150

// A lab is where one scenario runs: it starts processes, and ends them all.
type lab struct {
	ctx        context.Context
	scenario   string
	size       size
	report     *report
	profileDir string
	started    []*process
}

func newLab(ctx context.Context, scenario string, size size, rep *report, profileDir string) *lab {
	return &lab{ctx: ctx, scenario: scenario, size: size, report: rep, profileDir: profileDir}
}

// start runs this program again in a role and decodes what it says of itself
// into info, unless that is nil.
func (l *lab) start(role string, args, info any) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := specOf(role, args)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(l.ctx, exe)
	cmd.Env = append(os.Environ(), childEnv+"="+text)
	return l.run(role, cmd, info)
}

// run starts cmd, which takes orders as a role does.
func (l *lab) run(name string, cmd *exec.Cmd, info any) (*process, error) {
	if len(l.started) == maxProcesses {
		return nil, fmt.Errorf("more than %d processes", maxProcesses)
	}
	p, err := startProcess(name, cmd)
	if err != nil {
		return nil, err
	}
	l.started = append(l.started, p)
	return p, p.read(l.ctx, info)
}

// stop ends every process that was started and is not over.
func (l *lab) stop() error {
	var wg sync.WaitGroup
	errs := make([]error, len(l.started))
	for i, p := range l.started {
		wg.Go(func() { errs[i] = p.stop() })
	}
	wg.Wait()
	l.started = nil
	return errors.Join(errs...)
}

// forget ends p before the scenario does.
func (l *lab) forget(p *process) error {
	l.started = slices.DeleteFunc(l.started, func(q *process) bool { return q == p })
	return p.stop()
}

// all does something with each process at the same time.
func all[T any](procs []*process, do func(i int, p *process) (T, error)) ([]T, error) {
	var wg sync.WaitGroup
	results, errs := make([]T, len(procs)), make([]error, len(procs))
	for i, p := range procs {
		wg.Go(func() { results[i], errs[i] = do(i, p) })
	}
	wg.Wait()
	return results, errors.Join(errs...)
}

// usage is the processor time that all of procs have used.
func usage(l *lab, procs []*process) (time.Duration, error) {
	used, err := all(procs, func(_ int, p *process) (d time.Duration, err error) {
		return d, p.do(l.ctx, "usage", none{}, &d)
	})
	var sum time.Duration
	for _, d := range used {
		sum += d
	}
	return sum, err
}

// A variant is one peer under one load.
type variant struct {
	load, peer string
	run        func(d time.Duration) ([]measurement, error)
}

// A measurement is one figure of one round.
type measurement struct {
	metric, unit string
	value        float64
}

// interleave measures the variants in turn, round after round. The first
// round warms up, and is shorter.
func (l *lab) interleave(variants []variant) error {
	for round := range l.size.rounds + 1 {
		d := l.size.slice
		if round == 0 {
			d /= 4
		}
		for _, v := range variants {
			if err := context.Cause(l.ctx); err != nil {
				return err
			}
			got, err := v.run(d)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", v.peer, v.load, err)
			}
			if round > 0 {
				l.record(v.load, v.peer, got...)
			}
		}
	}
	return nil
}

func (l *lab) record(load, peer string, got ...measurement) {
	for _, m := range got {
		l.report.add(seriesID{l.scenario, load, peer, m.metric, m.unit}, m.value)
	}
}

// profileSlices is how many times as long as a measurement a profile takes.
const profileSlices = 4

// profiled runs something while both ends of it write CPU profiles, if those
// were asked for, and does nothing otherwise. It counts for nothing.
func (l *lab) profiled(name string, ends map[string]*process, run func() error) error {
	if l.profileDir == "" {
		return nil
	}
	for end, p := range ends {
		if err := p.do(l.ctx, "profile", filepath.Join(l.profileDir, name+"-"+end+".pprof"), nil); err != nil {
			return err
		}
	}
	if err := run(); err != nil {
		return err
	}
	for _, p := range ends {
		if err := p.do(l.ctx, "profile", "", nil); err != nil {
			return err
		}
	}
	return nil
}
