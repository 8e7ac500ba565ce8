package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
	"github.com/clusterclient/clusterclient/internal/runtimedir"
)

// doctorReport is what doctor prints as JSON.
type doctorReport struct {
	OK       bool      `json:"ok"` // no finding is an error
	Looked   []string  `json:"looked_at"`
	Findings []finding `json:"findings"`
}

// A finding is one thing that is wrong, or may become so.
type finding struct {
	Level string `json:"level"` // error or warning
	Code  string `json:"code"`  // for programs, such as "stranger"; see docs/operations.md
	Where string `json:"where"`
	What  string `json:"what"`
	Do    string `json:"do"`
}

const (
	levelError   = "error"
	levelWarning = "warning"

	// recently is how old what is still worth telling may be.
	recently = time.Hour

	// looksAgain is how often doctor looks again at followers that were behind or
	// silent, each time after lookPause: who is busy is no longer, who hangs still
	// is.
	looksAgain = 2
	lookPause  = 500 * time.Millisecond
)

// A doctor collects findings.
type doctor struct {
	app    *app
	at     int // the port that is looked at
	report doctorReport
}

func (d *doctor) find(level, code, where, what, do string) {
	d.report.Findings = append(d.report.Findings, finding{level, code, where, what, do})
	d.report.OK = d.report.OK && level != levelError
}

func (a *app) doctor(ctx context.Context, _ []string) error {
	d := &doctor{app: a, report: doctorReport{OK: true, Looked: []string{}, Findings: []finding{}}}
	d.runtimeDir()
	all := a.discover(ctx, inspect.Query{Followers: true})
	for _, f := range all {
		d.port(f)
	}
	d.behind(ctx, all)
	if a.json {
		if err := a.document(d.report); err != nil {
			return err
		}
	} else {
		d.print()
	}
	switch {
	case !d.report.OK:
		return &exitError{code: exitUnwell}
	case len(all) == 0:
		return a.nothing(nil)
	}
	return nil
}

func (d *doctor) print() {
	a := d.app
	for _, looked := range d.report.Looked {
		a.print("looked at %s\n", looked)
	}
	for _, f := range d.report.Findings {
		t := poor
		if f.Level == levelError {
			t = bad
		}
		a.print("\n%s %s: %s\n  do: %s\n", a.style.set(f.Level+" "+f.Code, t), f.Where, f.What, f.Do)
	}
	if len(d.report.Findings) == 0 {
		a.print("%s\n", a.style.set("nothing is wrong", good))
	}
}

func (d *doctor) runtimeDir() {
	dir, err := runtimedir.Open(d.app.dir)
	if err == nil {
		d.report.Looked = append(d.report.Looked, "runtime directory "+dir)
		return
	}
	d.find(levelError, "runtime-dir", "runtime directory", err.Error(),
		"make it a directory of this user's with mode 0700; until then a leader that hangs is not replaced")
}

// port looks at one port and all that it carries.
func (d *doctor) port(f found) {
	where := f.cluster.Address
	d.at = f.port
	d.report.Looked = append(d.report.Looked, where)
	if low, high, ok := ephemeralPorts(); ok && f.port >= low && f.port <= high {
		d.find(levelWarning, "ephemeral-port", where,
			fmt.Sprintf("the port lies in the range %d to %d from which the system takes ports for outgoing connections, so that any program may be given it", low, high),
			fmt.Sprintf("choose a port below %d, or reserve it: sysctl net.ipv4.ip_local_reserved_ports=%d", low, f.port))
	}
	told := slices.ContainsFunc(f.cluster.Names, func(n inspect.Name) bool {
		return n.Leadership == nil && n.Leader.Address == where && n.Lease != nil && !n.Refused
	})
	if f.err != nil && !told {
		d.unreachable(f, where)
	}
	for _, n := range f.cluster.Names {
		if !n.Refused || f.err == nil { // else the port says it
			d.name(n)
		}
	}
	d.builds(f.cluster)
}

// unreachable tells who is in the way on a port where no cluster answers.
func (d *doctor) unreachable(f found, where string) {
	h := holderOf(where)
	switch {
	case h.stopped:
		d.find(levelError, "hung", where, h.String()+" holds the port and is stopped, by a signal or a debugger; what is led beside it goes on", resume(h.PID))
	case f.cluster.Owner.PID != 0: // by its lease
		d.find(levelError, "hung", where, peer(f.cluster.Owner)+" holds the port and does not answer: "+cause(f.err), "look what it is busy with, or end it: "+kill(f.cluster.Owner.PID))
	case errors.Is(f.err, clusterclient.ErrNoLeader):
		d.find(levelError, "nobody", where, cause(f.err), "start a process that can lead (one with WithUpstream), or look at another port")
	case h.foreign():
		d.find(levelError, "other-user", where, fmt.Sprintf("%s of uid %d holds the port; a cluster is of one user", h, h.uid),
			"let that user's processes use another port, or run as that user")
	case errors.Is(f.err, clusterclient.ErrPeerRefused):
		d.find(levelError, "refused", where, cause(f.err), getIn)
	default:
		d.find(levelError, "stranger", where, h.String()+" holds the port, and is no cluster of ours or does not answer: "+cause(f.err),
			"stop it, or choose another port; if it is one of yours that hangs, end it: "+kill(h.PID))
	}
}

const getIn = "run this as the cluster's user, with its runtime directory (-dir), and, where it has one, with its secret or certificate (-secret-file, -tls-cert)"

func (d *doctor) name(n inspect.Name) {
	l := n.Leadership
	switch {
	case n.State == inspect.Vacant:
		d.find(levelError, "deposed", n.Name, "nobody leads: "+n.Reason, "start a process that can lead (one with WithUpstream), or as to the old one, "+resume(n.Leader.PID))
	case n.Refused:
		d.find(levelError, "refused", n.Name, n.Trouble, getIn)
	case l == nil && stopped(n.Leader.PID):
		d.find(levelError, "hung", n.Name, d.leads(n)+" and is stopped, by a signal or a debugger"+d.lease(n), resume(n.Leader.PID)+d.orDepose(n))
	case n.Trouble != "":
		d.find(levelError, "hung", n.Name, d.leads(n)+" and does not answer"+cmp.Or(d.lease(n), ": "+n.Trouble), "look what it is busy with, or end it ("+kill(n.Leader.PID)+")"+d.orDepose(n))
	case n.State == inspect.Failed:
		d.find(levelError, "upstream", n.Name, peer(n.Leader)+" cannot open the upstream: "+n.Reason, "mend the upstream or the way to it")
	case n.State == inspect.Granted:
		n.State = inspect.Opening // it is about to begin all the same
		d.name(n)
	case l == nil || n.State != inspect.Led:
		d.find(levelWarning, n.State, n.Name, fmt.Sprintf("the leadership of %s is %s%s", peer(n.Leader), n.State, because(n.Reason)), "wait; look again if it lasts")
	default:
		d.leadership(n, l)
	}
}

func (d *doctor) leads(n inspect.Name) string {
	return fmt.Sprintf("%s leads in term %d", peer(known(n.Leader)), n.Term)
}

// lease says what the lease tells of a leader that says nothing itself.
func (d *doctor) lease(n inspect.Name) string {
	if n.Lease == nil {
		return ""
	}
	text := fmt.Sprintf("; it renewed its lease %s ago", age(n.Lease.Renewed, time.Now()))
	if left := time.Until(n.Lease.Expires); left > 0 {
		return text + fmt.Sprintf(", and if it does not do so within %s, a process that can lead takes its place", left.Round(time.Second))
	}
	return text + ", and no process that could take its place has done so"
}

// orDepose says how to get another leader without waiting.
func (d *doctor) orDepose(n inspect.Name) string {
	switch {
	case n.Lease == nil:
		return ""
	case n.Lease.State == inspect.Expired:
		return ", and start a process that can lead (one with WithUpstream)"
	}
	return fmt.Sprintf(", or let another process lead at once: clusterctl depose -yes -port %d -name %s", d.at, shellWord(n.Name))
}

func (d *doctor) leadership(n inspect.Name, l *inspect.Leadership) {
	if u := l.Upstream; !u.Open {
		d.find(levelError, "upstream", n.Name, peer(n.Leader)+" leads without an upstream: "+u.Trouble, "mend the upstream or the way to it; until then everybody goes on with the last known values, marked stale")
	} else if !u.BlindSince.IsZero() {
		d.find(levelError, "blind", n.Name, fmt.Sprintf("%s leads, and has not reached the upstream for %s: %s", peer(n.Leader), age(u.BlindSince, time.Now()), u.Trouble),
			"mend the upstream or the way to it, or, if another process reaches it, clusterctl resign; until then everybody goes on with the last known values, marked stale")
	} else if u.StaleKeys > 0 {
		level := levelWarning
		if u.StaleKeys == u.Watches {
			level = levelError
		}
		d.find(level, "blind", n.Name, fmt.Sprintf("%s leads, but the upstream vouches for only %d of %d keys: %s", peer(n.Leader), u.Watches-u.StaleKeys, u.Watches, u.Trouble),
			"mend the upstream or the way to it; until then everybody goes on with the last known values, marked stale")
	}
	for _, r := range l.Rejected {
		if r.Code == "IDENTITY_MISMATCH" && time.Since(r.At) < recently {
			d.find(levelError, "identity", n.Name, fmt.Sprintf("%s turned away, for using the name for another upstream, namespace or credential; the last one was %s, %s ago",
				were(r.Count, "process", "processes"), peer(r.Last), age(r.At, time.Now())), "give one of the two another name, or both the same WithIdentity")
		}
	}
	if l.Refused > 0 {
		d.find(levelWarning, "overload", n.Name, were(l.Refused, "call", "calls")+" refused in this term, since a process had too many under way",
			"clusterctl followers shows whose; make fewer calls at once")
	}
	if l.SocketTrouble != "" {
		d.find(levelWarning, "no-socket", n.Name, peer(n.Leader)+" leads, and offers no Unix socket beside its port, so that its followers take the port, which costs more: "+l.SocketTrouble,
			"see to it that it can make a socket in its runtime directory, or give all processes another one (WithRuntimeDir)")
	}
	if len(l.Followers) > 1 && l.Candidates == 0 {
		d.find(levelWarning, "no-successor", n.Name, "no follower could lead if the leader died", "give at least one more process WithUpstream")
	}
}

// builds tells versions of the library that differ.
func (d *doctor) builds(cl inspect.Cluster) {
	by := make(map[string]map[int]bool)
	add := func(p inspect.Peer) {
		if by[p.Build] == nil {
			by[p.Build] = make(map[int]bool)
		}
		by[p.Build][p.PID] = true
	}
	for _, n := range cl.Names {
		if n.Leadership == nil {
			continue // and it did not tell its build
		}
		add(n.Leader)
		for _, f := range n.Leadership.Followers {
			add(f.Peer)
		}
	}
	if len(by) < 2 {
		return
	}
	var parts []string
	for build, processes := range sorted(by) {
		var all []int
		for pid := range processes {
			all = append(all, pid)
		}
		if build == "" {
			build = "an older build"
		}
		parts = append(parts, build+": "+pids(all))
	}
	d.find(levelWarning, "builds", cl.Address, "the processes have different versions of the library ("+strings.Join(parts, "; ")+")",
		"fine during a rollout; otherwise bring all to one version")
}
