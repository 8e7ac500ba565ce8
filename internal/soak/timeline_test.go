package soak

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever sees a run fail is told how it came to that, and how to see it again.
func TestExplain(t *testing.T) {
	all := goodHistory()
	all = slices.Insert(all, find(t, all, Record{Kind: Fault, PID: 2, Op: Terminate}), Record{At: ms(7000), Kind: Role, Name: "c", PID: 3, Role: leaderRole, Term: 2, Leader: 3})
	broken := Check(all, strictest)
	require.NotEmpty(t, broken)
	text := Replay{Seed: 4711, Processes: 9, First: 2, Bad: 5, Length: time.Minute, Dir: "/tmp/kept"}.Explain(all, broken)

	rest := text
	for _, part := range []string{
		"how it came to the first of ", "1.000 s  FAULT kill -9 pid 1 ", "1.010 s  pid 2 c: leader, term 2", "7.000 s  pid 3 c: leader, term 2, leader pid 3",
		"two leaders: ", "history and logs are in /tmp/kept; to replay:\n",
		"go test ./internal/soak -run TestSoak -seed=4711 -processes=9 -episode=5 -soak=10s -count=5 -v\n",
		"go test ./internal/soak -run TestSoak -seed=4711 -processes=9 -episode=2 -soak=1m0s -v",
	} {
		_, after, ok := strings.Cut(rest, part)
		require.True(t, ok, "there is no %q, or not at its place, in:\n%s", part, text)
		rest = after
	}
	require.NotContains(t, text, "8.010 s", "what came long after")
}
