package main

import (
	"context"
	"strconv"
	"time"

	"github.com/clusterclient/clusterclient/inspect"
)

// followersReport is what followers prints as JSON.
type followersReport struct {
	Followers []namedFollower `json:"followers"`
}

type namedFollower struct {
	Name string `json:"name"`
	inspect.Follower
}

func (a *app) followers(ctx context.Context, _ []string) error {
	all, err := a.wanted(ctx)
	if err != nil {
		return err
	}
	report := followersReport{Followers: []namedFollower{}}
	for _, p := range all {
		if p.Leadership == nil {
			continue
		}
		for _, f := range p.Leadership.Followers {
			report.Followers = append(report.Followers, namedFollower{p.Name.Name, f})
		}
	}
	if a.json {
		return a.document(report)
	}
	now := time.Now()
	rows := [][]cell{}
	for _, f := range report.Followers {
		rows = append(rows, followerRow(f, now))
	}
	a.table([]string{"NAME", "PID", "PROGRAM", "BUILD", "ROLE", "SINCE", "KEYS", "BEHIND", "QUEUED", "CALLS", "MISSED", "ANSWERS"}, rows)
	return nil
}

func followerRow(f namedFollower, now time.Time) []cell {
	role := "follower"
	switch {
	case f.Own:
		role = "leader"
	case f.Candidate:
		role = "candidate"
	}
	answers := cell{"yes", good}
	if f.Holding == nil {
		answers = cell{"no: " + f.Trouble, bad}
	}
	behind := c(strconv.Itoa(f.Behind))
	if f.Behind > 0 {
		behind.tone = poor
	}
	return []cell{
		c(f.Name), c(strconv.Itoa(f.PID)), c(f.Program), c(f.Build), c(role), c(age(f.Since, now)), c(strconv.Itoa(f.Keys)),
		behind, c(strconv.Itoa(f.Queued)), c(strconv.Itoa(f.Calls)), c(strconv.FormatUint(f.Conflated, 10)), answers,
	}
}
