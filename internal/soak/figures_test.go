package soak

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFailovers(t *testing.T) {
	// In the good history process 1 is killed after 1,000 ms. Both others hold
	// a confirmed value after 1,010 ms; process 3 is answered after 1,016 ms,
	// and process 2 never, which leaves the failover open.
	require.Empty(t, Failovers(goodHistory()))
	answered := Record{At: ms(1014), Kind: Called, PID: 2, Tag: "ping", Name: "c", Call: "ping e", Began: ms(1012), Handler: 2, Term: 2}
	want := Failover{Op: Kill, Followers: 2, Led: 10 * time.Millisecond, Subscribers: 10 * time.Millisecond, Callers: 16 * time.Millisecond, Failed: 1}
	require.Equal(t, map[string][]Failover{Kill: {want}}, Failovers(with(answered)(t, goodHistory())))

	// Another fault meanwhile makes it one that tells nothing.
	another := Record{At: ms(1012), Kind: Fault, Op: Outage}
	require.Empty(t, Failovers(with(answered, another)(t, goodHistory())))
	busy := Record{At: ms(900), Kind: Fault, Op: Burn, PID: 3, For: time.Second}
	require.Empty(t, Failovers(with(answered, busy)(t, goodHistory())))
}

func TestTally(t *testing.T) {
	require.Equal(t, "kill -9 1, SIGTERM 2", Tally(goodHistory()))
}

func TestSummary(t *testing.T) {
	var all []Failover
	for i := range 101 {
		all = append(all, Failover{Op: Kill, Followers: 8, Subscribers: time.Duration(i) * time.Millisecond, Callers: time.Second})
	}
	require.Contains(t, Summary(map[string][]Failover{Kill: all}), "| kill -9 | 101 | 8 | 0s | 0s | 0s | 50ms | 99ms | 100ms | 1s | 1s | 1s | 0 |")
	require.Equal(t, 2, strings.Count(Summary(nil), "\n"), "a head and no rows")
}

func TestTimeline(t *testing.T) {
	all := goodHistory()
	bad := without(Record{Kind: Deregister, PID: 2, Key: "r/1"})(t, all)
	found := Check(bad, strictest)
	require.NotEmpty(t, found)
	got := Timeline(bad, found[0])
	require.Contains(t, got, "    1.000 s  FAULT kill -9 pid 1")
	require.Contains(t, got, "======= registration left: ")
	require.Less(t, strings.Index(got, "FAULT kill -9"), strings.Index(got, "======="))
	require.NotContains(t, got, "mark a", "calls that went well")
}
