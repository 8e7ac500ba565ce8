package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

// A found port is one where there is, or ought to be, a cluster.
type found struct {
	port    int
	cluster inspect.Cluster
	err     error // why its owner has nothing to tell; the cluster is what the leases tell then
}

// options of everything that reaches a cluster.
func (a *app) options() []clusterclient.Option {
	opts := slices.Clone(a.credentials)
	if a.address != "" {
		opts = append(opts, clusterclient.WithAddress(a.address))
	}
	if a.dir != "" {
		opts = append(opts, clusterclient.WithRuntimeDir(a.dir))
	}
	return opts
}

// discover looks at the port that was asked for, or at all that this user's
// processes use and the default one.
func (a *app) discover(ctx context.Context, q inspect.Query) []found {
	if a.port != 0 {
		return []found{a.look(ctx, a.port, q)}
	}
	ports := a.ports()
	all := make([]found, len(ports))
	var wg sync.WaitGroup
	for i, port := range ports {
		wg.Go(func() { all[i] = a.look(ctx, port, q) })
	}
	wg.Wait()
	return tidy(all)
}

func (a *app) look(ctx context.Context, port int, q inspect.Query) found {
	f := found{port: port}
	f.cluster, f.err = clusterclient.Inspect(ctx, port, q, a.options()...)
	if _, p, err := net.SplitHostPort(f.cluster.Address); err == nil {
		f.port, _ = strconv.Atoi(p)
	}
	if a.name != "" {
		f.cluster.Names = slices.DeleteFunc(f.cluster.Names, func(n inspect.Name) bool { return n.Name != a.name })
	}
	return f
}

// tidy drops what is no news: addresses of leaders beside a port that is in the
// list itself, and ports where nobody listens.
func tidy(all []found) []found {
	beside := make(map[string]bool)
	for _, f := range all {
		for _, n := range f.cluster.Names {
			if n.Leader.Address != f.cluster.Address {
				beside[n.Leader.Address] = true
			}
		}
	}
	return slices.DeleteFunc(all, func(f found) bool {
		return errors.Is(f.err, clusterclient.ErrNoLeader) && len(f.cluster.Names) == 0 || beside[f.cluster.Address]
	})
}

// ports returns the default port, and those beside which there is a socket
// of this user's.
func (a *app) ports() []int {
	ports := []int{defaultPort()}
	dir, err := runtimedir.Open(a.dir)
	if err != nil {
		return ports
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if p, ok := portOf(e.Name()); ok && !slices.Contains(ports, p) {
			ports = append(ports, p)
		}
	}
	slices.Sort(ports)
	return ports
}

// defaultPort is the one of [clusterclient.Create]; 0 leaves it to the library
// to complain.
func defaultPort() int {
	named := os.Getenv("CLUSTERCLIENT_PORT")
	if named == "" {
		return clusterclient.DefaultPort
	}
	port, _ := strconv.Atoi(named)
	return port
}

// portOf returns the port that a socket lies beside.
func portOf(file string) (port int, ok bool) {
	rest, ok := strings.CutSuffix(file, ".sock")
	if !ok || strings.HasPrefix(file, ".") {
		return 0, false
	}
	port, err := strconv.Atoi(rest[strings.LastIndexByte(rest, '-')+1:])
	return port, err == nil
}

// A place is a name on a port.
type place struct {
	port int
	inspect.Name
}

// hangs reports whether the leader should answer, and does not.
func (p place) hangs() bool { return p.Leadership == nil && p.Trouble != "" && !p.Refused }

// places returns all names there are, and why others are missing.
func (a *app) places(ctx context.Context, q inspect.Query) (all []place, troubles []error) {
	for _, f := range a.discover(ctx, q) {
		if f.err != nil {
			troubles = append(troubles, f.err)
		}
		for _, n := range f.cluster.Names {
			all = append(all, place{f.port, n})
		}
	}
	return all, troubles
}

// wanted returns all names, or an error when nobody tells of any.
func (a *app) wanted(ctx context.Context, q inspect.Query) ([]place, error) {
	all, troubles := a.places(ctx, q)
	if len(all) == 0 {
		return nil, a.nothing(troubles)
	}
	told := false
	for _, p := range all {
		told = told || p.Leadership != nil
		if p.Leadership == nil && (!p.Refused || len(troubles) == 0) { // the owner of the port has said it
			troubles = append(troubles, p.silence())
		}
	}
	if !told {
		return nil, &exitError{exitNobody, errors.Join(troubles...)}
	}
	for _, err := range troubles {
		a.warn("clusterctl: %v", err)
	}
	return all, nil
}

// silence says why the leader tells nothing.
func (p place) silence() error {
	if p.Trouble != "" {
		return fmt.Errorf("%s is led by %s, which tells nothing: %s", p.Name.Name, peer(known(p.Leader)), p.Trouble)
	}
	return fmt.Errorf("%s is %s%s", p.Name.Name, p.State, because(p.Reason))
}

// each returns what a function finds in the leadership of every name that has
// one.
func each[T any](all []place, find func(name string, l *inspect.Leadership) []T) []T {
	found := []T{}
	for _, p := range all {
		if p.Leadership != nil {
			found = append(found, find(p.Name.Name, p.Leadership)...)
		}
	}
	return found
}

// place returns the one name that a command is about.
func (a *app) place(ctx context.Context) (place, error) {
	all, troubles := a.places(ctx, inspect.Query{})
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return place{}, a.nothing(troubles)
	}
	var names []string
	for _, p := range all {
		names = append(names, "-port "+strconv.Itoa(p.port)+" -name "+p.Name.Name)
	}
	return place{}, usage("there are several clusters, choose one:\n  %s", strings.Join(names, "\n  "))
}

// nothing says why there is no name at all.
func (a *app) nothing(troubles []error) error {
	switch {
	case len(troubles) > 0:
		return &exitError{exitNobody, errors.Join(troubles...)}
	case a.name != "":
		return nobody("nobody leads a cluster called %q here", a.name)
	}
	return nobody("no cluster of this user was found; -port says where to look")
}
