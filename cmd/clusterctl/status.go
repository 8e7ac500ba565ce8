package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// statusReport is what status prints as JSON.
type statusReport struct {
	Clusters []inspect.Cluster `json:"clusters"`
	Troubles []trouble         `json:"troubles"`
}

// A trouble is why nothing can be told of a port.
type trouble struct {
	Port    int    `json:"port"`
	Trouble string `json:"trouble"`
	err     error
}

func (a *app) status(ctx context.Context, _ []string) error {
	report := statusReport{Clusters: []inspect.Cluster{}, Troubles: []trouble{}}
	for _, f := range a.discover(ctx, inspect.Query{}) {
		if f.err != nil {
			report.Troubles = append(report.Troubles, trouble{f.port, f.err.Error(), f.err})
		}
		if f.err == nil || len(f.cluster.Names) > 0 {
			report.Clusters = append(report.Clusters, f.cluster)
		}
	}
	if a.json {
		if err := a.document(report); err != nil {
			return err
		}
	} else {
		for i, c := range report.Clusters {
			if i > 0 {
				a.print("\n")
			}
			a.statusOf(c)
		}
	}
	return a.verdict(report)
}

// verdict turns what was found into an exit code.
func (a *app) verdict(report statusReport) error {
	var errs []error
	for _, t := range report.Troubles {
		errs = append(errs, fmt.Errorf("port %d: %w", t.Port, t.err))
	}
	names, silent := 0, false
	for _, c := range report.Clusters {
		names += len(c.Names)
		silent = silent || slices.ContainsFunc(c.Names, func(n inspect.Name) bool { return n.Trouble != "" || n.State == inspect.Vacant })
	}
	switch {
	case names == 0:
		return a.nothing(errs)
	case len(errs) > 0 || silent:
		return &exitError{exitUnwell, errors.Join(errs...)}
	}
	return nil
}

func (a *app) statusOf(c inspect.Cluster) {
	owner := "whose owner does not answer"
	switch {
	case c.Owner.PID != 0:
		owner = "owned by " + peer(known(c.Owner))
	case slices.ContainsFunc(c.Names, func(n inspect.Name) bool { return n.Refused }):
		owner = "whose owner does not let this process in"
	}
	a.print("%s, %s\n", a.style.set(c.Address, bold), owner)
	rows := [][]cell{}
	for _, n := range c.Names {
		rows = append(rows, statusRow(c, n))
	}
	a.table([]string{"NAME", "STATE", "TERM", "SINCE", "LEADER", "UPSTREAM", "FOLLOWERS", "KEYS"}, rows)
}

func statusRow(cl inspect.Cluster, n inspect.Name) []cell {
	row := []cell{c(n.Name), stateCell(n), c(strconv.FormatUint(n.Term, 10)), c("-"), c(peer(known(n.Leader))), c("-"), c("-"), c("-")}
	l := n.Leadership
	if l == nil {
		return row
	}
	row[3] = c(age(l.Since, cl.At))
	row[5] = upstreamCell(l.Upstream)
	row[6] = c(fmt.Sprintf("%d (%d could lead)", max(0, len(l.Followers)-1), l.Candidates))
	row[7] = c(strconv.Itoa(l.Upstream.Watches))
	return row
}

func stateCell(n inspect.Name) cell {
	switch {
	case n.Refused:
		return cell{"not let in", poor}
	case n.Trouble != "" && n.Lease != nil:
		return cell{"silent " + age(n.Lease.Renewed, time.Now()), bad}
	case n.Trouble != "":
		return cell{"silent", bad}
	case n.State == inspect.Vacant:
		return cell{n.State, bad}
	case n.State == inspect.Led:
		return cell{n.State, good}
	case n.State == inspect.Failed:
		return cell{n.State + ": " + n.Reason, bad}
	}
	return cell{n.State, poor}
}

func upstreamCell(u inspect.Upstream) cell {
	switch {
	case !u.Open:
		return cell{"not open: " + u.Trouble, bad}
	case !u.BlindSince.IsZero():
		return cell{"blind: " + u.Trouble, bad}
	case u.StaleKeys == 0:
		return cell{"fresh", good}
	case u.StaleKeys < u.Watches:
		return cell{fmt.Sprintf("%d of %d keys stale", u.StaleKeys, u.Watches), poor}
	}
	return cell{"stale: " + u.Trouble, bad}
}

// peer names a process.
func peer(p inspect.Peer) string {
	text := "pid " + strconv.Itoa(p.PID)
	if p.Program != "" {
		text += " (" + p.Program + ")"
	}
	if p.Address != "" {
		text += " at " + p.Address
	}
	return text
}
