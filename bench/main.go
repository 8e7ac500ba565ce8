// Command bench measures this library beside what a user might pick instead.
//
// Every figure comes from real processes on this host: the program runs itself
// again as each server, caller and subscriber, gives them orders over their
// standard input, and ends each of them, by its own handle,
// whatever happens. Peers take turns, A B A B, round after round, so that what
// else the machine does hits all of them alike; the first round warms up and
// is not counted. The table shows medians over the rounds, their spread, and
// ratios within this one run.
//
//	go run .                     # everything, about ten minutes
//	go run . -quick              # everything, about a minute
//	go run . -only invoke,etcd   # some scenarios
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	if spec := os.Getenv(childEnv); spec != "" {
		childMain(spec)
		return
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A scenario measures one thing in all ways there are.
type scenario struct {
	name string
	run  func(*lab) error
}

func scenarios() []scenario {
	return []scenario{
		{"invoke", invokeScenario},
		{"takeover", takeoverScenario},
		{"fanout", fanoutScenario},
		{"etcd", etcdScenario},
		{"isolation", isolationScenario},
		{"growth", growthScenario},
		{"memory", memoryScenario},
		{"metrics", metricsScenario},
		{"node", nodeScenario},
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "a minute instead of ten, and figures that are no more than a hint")
	rounds := flags.Int("rounds", 0, "how many rounds to count instead of what the size says")
	only := flags.String("only", "", "scenarios to run, separated by commas; all by default")
	jsonFile := flags.String("json", "", "`file` to write the figures to")
	svgDir := flags.String("svg", "", "`directory` to draw the charts in")
	profileDir := flags.String("profile", "", "`directory` for CPU profiles of both ends, for calls at 512 in flight, fan-out and large values")
	from := flags.String("from", "", "`file` with the figures of an earlier run, instead of measuring")
	pages := flags.String("pages", "", "`files`, separated by commas, whose tables are to have the figures")
	if err := flags.Parse(args); err != nil {
		return err
	}
	publish := func(r *report) error {
		return errors.Join(r.save(*jsonFile), r.draw(*svgDir), r.fillAll(*pages))
	}
	if *from != "" {
		rep, err := loadReport(*from)
		if err != nil {
			return err
		}
		return publish(rep)
	}
	size := fullSize
	if *quick {
		size = quickSize
	}
	if *rounds > 0 {
		size.rounds = *rounds
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeoutCause(ctx, size.limit, fmt.Errorf("not done after %v", size.limit))
	defer cancel()

	remove, err := ownRuntimeDir()
	if err != nil {
		return err
	}
	defer remove()
	rep := newReport(size.rounds)
	measureErr := measure(ctx, size, rep, chosen, *profileDir)
	rep.finish()
	return errors.Join(measureErr, rep.print(os.Stdout), publish(rep))
}

// ownRuntimeDir gives the processes that are started a directory of their own to
// share: what they leave there, for ports that nobody uses again, goes with it.
func ownRuntimeDir() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "bench") // a short name: the path of a socket has to be
	if err != nil {
		return nil, err
	}
	return func() { _ = os.RemoveAll(dir) }, os.Setenv("XDG_RUNTIME_DIR", dir)
}

func choose(only string) ([]scenario, error) {
	all := scenarios()
	if only == "" {
		return all, nil
	}
	var chosen []scenario
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no scenario %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// measure runs the scenarios one after the other. One that fails does not
// keep the others from running.
func measure(ctx context.Context, size size, rep *report, chosen []scenario, profileDir string) error {
	var failed []error
	for _, s := range chosen {
		start := time.Now()
		fmt.Fprintf(os.Stderr, "%s ...\n", s.name)
		l := newLab(ctx, s.name, size, rep, profileDir)
		if err := errors.Join(s.run(l), l.stop()); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.name, err))
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", s.name, time.Since(start).Seconds())
	}
	return errors.Join(failed...)
}
