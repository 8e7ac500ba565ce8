package soak

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

const (
	leaderRole   = "leader"
	followerRole = "follower"

	// grace is how long a registration outlives its process at least, and how
	// long it may be absent while the process lives.
	grace = 3 * time.Second

	// slack is how much longer it may outlive its process.
	slack = time.Second
)

// A Violation is a promise that a history shows broken.
type Violation struct {
	At   int64 // Unix nanoseconds
	Rule string
	Text string
}

// Rules says what a history is held to beyond what always holds.
type Rules struct {
	// TermsOnce: no term is ever used by two leaders, also if the first one
	// died before anybody had heard of it; and whoever leads knows the terms
	// that anybody has seen.
	TermsOnce bool
}

// Check returns the promises that a history shows broken, the earliest first.
func Check(all []Record, rules Rules) []Violation {
	c := &checker{all: all, lives: newLives(all), rules: rules}
	c.leaders()
	c.effects()
	c.values()
	c.calls()
	c.registrations()
	c.publishing()
	c.rests()
	c.leavings()
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return c.found
}

// A checker collects what it finds.
type checker struct {
	all   []Record
	lives *lives
	rules Rules
	found []Violation
}

func (c *checker) broken(at int64, rule, format string, args ...any) {
	c.found = append(c.found, Violation{at, rule, fmt.Sprintf(format, args...)})
}
