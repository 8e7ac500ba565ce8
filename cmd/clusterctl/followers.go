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
	all, err := a.wanted(ctx, inspect.Query{Followers: true})
	if err != nil {
		return err
	}
	report := followersReport{Followers: each(all, namedFollowers)}
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

func namedFollowers(name string, l *inspect.Leadership) (all []namedFollower) {
	for _, f := range l.Followers {
		all = append(all, namedFollower{name, f})
	}
	return all
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
