package soak

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A Result is what a run came to.
type Result struct {
	Violations []Violation
	Records    []Record
	Episodes   int
	Faults     int
	Tally      string // of the faults
	Dir        string // where the history and the logs lie, if something was broken
}

// Run lets a cluster endure episodes of the seed's faults, the first one
// given, until there was time for no more, and checks it at each rest. It
// stops at the first violation. say is told how it goes.
func Run(cfg Config, limits Limits, rules Rules, seed uint64, first int, length time.Duration, say func(format string, args ...any)) (res Result, err error) {
	c, err := newCluster(cfg)
	if err != nil {
		return res, err
	}
	defer func() { err = res.end(c, err) }()
	began := time.Now()
	c.rest()
	for time.Since(began) < length {
		episode := first + res.Episodes
		faults, err := c.endure(Plan(seed, episode, limits))
		if err == nil {
			err = c.heal()
		}
		if err != nil {
			return res, fmt.Errorf("episode %d: %w", episode, err)
		}
		took := c.rest()
		res.Episodes++
		res.Faults += faults
		res.Violations = Check(c.history.Records(), rules)
		if len(res.Violations) > 0 {
			say("episode %d: %d faults, rest after %v, VIOLATIONS: %d", episode, faults, took.Round(time.Millisecond), len(res.Violations))
			return res, nil
		}
		say("episode %d: %d faults, rest after %v", episode, faults, took.Round(time.Millisecond))
	}
	res.Tally = Tally(c.history.Records()) // the end is no fault
	if err := c.leave(); err != nil {
		return res, err
	}
	res.Violations = Check(c.history.Records(), rules)
	return res, nil
}

// end closes the cluster and keeps what is needed to find out why it failed.
func (res *Result) end(c *cluster, err error) error {
	res.Records = c.history.Records()
	c.close()
	if err == nil && len(res.Violations) == 0 {
		return os.RemoveAll(c.dir)
	}
	res.Dir = c.dir
	for _, p := range c.procs {
		_ = os.WriteFile(filepath.Join(c.dir, fmt.Sprintf("%d.log", p.PID)), []byte(p.Log()), 0o600)
	}
	f, fileErr := os.Create(filepath.Join(c.dir, "history.jsonl"))
	if fileErr != nil {
		return fileErr
	}
	out := json.NewEncoder(f)
	for i := range res.Records {
		_ = out.Encode(&res.Records[i]) // as much as there is room for
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
