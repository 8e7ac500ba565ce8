package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"
)

// childEnv holds the spec of a process that was started to be measured.
const childEnv = "CLUSTERCLIENT_BENCH_CHILD"

// A spec says what a child is.
type spec struct {
	Role string          `json:"role"`
	Args json.RawMessage `json:"args,omitempty"`
}

// An order is what a child is told to do, one JSON object a line. Each is
// answered by one.
type order struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args,omitempty"`
}

type answer struct {
	Err    string          `json:"err,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// A role is what a child does.
type role struct {
	info  any // the answer to being started
	ops   map[string]op
	close func() error // may be nil
}

// An op carries out one order.
type op func(args json.RawMessage) (any, error)

// opOf makes an op of a function with a typed argument.
func opOf[A, R any](fn func(A) (R, error)) op {
	return func(raw json.RawMessage) (any, error) {
		var args A
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &args); err != nil {
				return nil, err
			}
		}
		return fn(args)
	}
}

// roleOf makes a role of a function with a typed argument.
func roleOf[A any](raw json.RawMessage, start func(A) (role, error)) (role, error) {
	var args A
	if err := json.Unmarshal(raw, &args); err != nil {
		return role{}, err
	}
	return start(args)
}

func startRole(s spec) (role, error) {
	switch s.Role {
	case "broker":
		return roleOf(s.Args, startBroker)
	case "server":
		return roleOf(s.Args, startServer)
	case "caller":
		return roleOf(s.Args, startCaller)
	case "member":
		return roleOf(s.Args, startMember)
	case "source":
		return roleOf(s.Args, startSource)
	case "subscriber":
		return roleOf(s.Args, startSubscriber)
	case "crowd-leader":
		return roleOf(s.Args, startCrowdLeader)
	case "crowd":
		return roleOf(s.Args, startCrowd)
	case "mixed-caller":
		return roleOf(s.Args, startMixedCaller)
	case "metered-leader":
		return roleOf(s.Args, startMeteredLeader)
	case "metered-follower":
		return roleOf(s.Args, startMeteredFollower)
	case "etcd":
		return roleOf(s.Args, startEtcd)
	case "etcd-proxy":
		return roleOf(s.Args, startEtcdProxy)
	case "etcd-client":
		return roleOf(s.Args, startEtcdClient)
	}
	return role{}, fmt.Errorf("there is no role %q", s.Role)
}

// childMain does what standard input says, and ends when that does.
func childMain(text string) {
	if err := serveOrders(text, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench child:", err)
		os.Exit(1)
	}
}

func serveOrders(text string, in io.Reader, out io.Writer) (err error) {
	var s spec
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	w := json.NewEncoder(out)
	r, err := startRole(s)
	if err != nil {
		return w.Encode(answer{Err: err.Error()})
	}
	if r.close != nil {
		defer func() { err = errors.Join(err, r.close()) }()
	}
	if err := w.Encode(answerOf(r.info, nil)); err != nil {
		return err
	}
	common := map[string]op{"usage": opOf(usageOp), "profile": opOf(profileOp)}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		do := r.ops[o.Op]
		if do == nil {
			do = common[o.Op]
		}
		if do == nil {
			return fmt.Errorf("role %s has no op %q", s.Role, o.Op)
		}
		if err := w.Encode(answerOf(do(o.Args))); err != nil {
			return err
		}
	}
	return nil // the parent is gone, or wants this process to be
}

func answerOf(result any, err error) answer {
	if err != nil {
		return answer{Err: err.Error()}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return answer{Err: err.Error()}
	}
	return answer{Result: raw}
}

// usageOp tells the processor time that this process has used so far.
func usageOp(struct{}) (time.Duration, error) { return processorTime() }

// profileOp starts a CPU profile that goes to file, or ends it when that is
// empty.
func profileOp(file string) (none, error) {
	if file == "" {
		pprof.StopCPUProfile()
		return none{}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return none{}, err
	}
	return none{}, pprof.StartCPUProfile(f)
}

// none is an argument or a result that says nothing.
type none struct{}

// within is a context for what a child does before it is ready.
func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}
