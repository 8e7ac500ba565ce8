package main

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterclient/clusterclient"
	"github.com/clusterclient/clusterclient/inspect"
)

// resignReport is what resign and depose print as JSON.
type resignReport struct {
	Name string        `json:"name"`
	Was  inspect.Peer  `json:"was"`           // who led
	Term uint64        `json:"term"`          // that has ended
	Now  *inspect.Name `json:"now,omitempty"` // as it is led then
}

// lookAgain is how often the tool looks whether somebody else leads.
const lookAgain = 50 * time.Millisecond

func (a *app) resign(ctx context.Context, _ []string) error { return a.handOver(ctx, false) }

func (a *app) depose(ctx context.Context, _ []string) error { return a.handOver(ctx, true) }

func (a *app) handOver(ctx context.Context, force bool) error {
	p, err := a.place(ctx)
	if err != nil {
		return err
	}
	if !a.yes {
		return &exitError{exitUsage, fmt.Errorf("%s leads %s in term %d; with -yes that ends", peer(p.Leader), p.Name.Name, p.Term)}
	}
	report := resignReport{Name: p.Name.Name, Was: p.Leader}
	report.Term, err = clusterclient.ResignAt(ctx, p.Name.Name, p.port, force, a.options()...)
	if err != nil && !force && p.hangs() {
		return fmt.Errorf("%w; a leader that hangs cannot be asked: clusterctl depose lets another process take its place, and clusterctl doctor says who is in the way", err)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	report.Now = a.next(ctx, p, report.Term)
	switch {
	case a.json:
		err = a.document(report)
	case report.Now != nil:
		a.print("%s: term %d of pid %d has ended; %s leads in term %d\n", report.Name, report.Term, report.Was.PID, peer(report.Now.Leader), report.Now.Term)
	default:
		a.print("%s: term %d of pid %d has ended\n", report.Name, report.Term, report.Was.PID)
	}
	if err == nil && report.Now == nil {
		err = nobody("nobody leads %s after %v", report.Name, a.timeout)
	}
	return err
}

// next waits for a leader in a later term.
func (a *app) next(ctx context.Context, p place, term uint64) *inspect.Name {
	for ctx.Err() == nil {
		f := a.look(ctx, p.port, inspect.Query{})
		for _, n := range f.cluster.Names {
			if n.Name == p.Name.Name && n.State == inspect.Led && n.Term > term && n.Leadership != nil {
				n.Leadership = nil // clusterctl status has it
				return &n
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookAgain):
		}
	}
	return nil
}
