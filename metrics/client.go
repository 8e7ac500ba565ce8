package metrics

import (
	"maps"
	"slices"

	"github.com/clusterclient/clusterclient"
)

// ofClient has what every client knows.
func ofClient() []Metric {
	type stats = clusterclient.Stats
	return []Metric{
		{
			Name: "clusterclient_info", Instrument: "clusterclient.info", Unit: "1", Labels: []string{"version"},
			Help:   "1, with the version of the library.",
			Points: func(s *stats) []Point { return []Point{{Labels: []string{s.Build}, Value: 1}} },
		},
		{
			Name: "clusterclient_role", Instrument: "clusterclient.role", Unit: "1", Labels: []string{"role"},
			Help: "1 for the present role, 0 for the others: leader, follower, none.", Points: roles,
		},
		{
			Name: "clusterclient_term", Instrument: "clusterclient.term", Unit: "1",
			Help: "Term of the leadership; 0 between terms.", Points: value(func(s *stats) float64 { return float64(s.Term) }),
		},
		{
			Name: "clusterclient_takeovers_total", Instrument: "clusterclient.takeovers", Unit: "{takeover}", Kind: Counter,
			Help: "Leaderships that this client has seen begin, after the first one.", Points: value(func(s *stats) float64 { return float64(s.Takeovers) }),
		},
		{
			Name: "clusterclient_takeover_duration_seconds", Instrument: "clusterclient.takeover.duration", Unit: "s", Kind: Histogram,
			Help:   "How long this client neither led nor followed before each takeover.",
			Points: func(s *stats) []Point { return []Point{{Histogram: s.Gaps}} },
		},
		{
			Name: "clusterclient_keys", Instrument: "clusterclient.keys", Unit: "{key}",
			Help: "Keys that this process subscribes to.", Points: value(func(s *stats) float64 { return float64(s.Keys) }),
		},
		{
			Name: "clusterclient_subscriptions", Instrument: "clusterclient.subscriptions", Unit: "{subscription}",
			Help: "Subscriptions in this process.", Points: value(func(s *stats) float64 { return float64(s.Subscriptions) }),
		},
		{
			Name: "clusterclient_stale_keys", Instrument: "clusterclient.stale_keys", Unit: "{key}",
			Help: "Keys of this process whose value nobody vouches for now.", Points: value(func(s *stats) float64 { return float64(s.StaleKeys) }),
		},
		{
			Name: "clusterclient_oldest_stale_age_seconds", Instrument: "clusterclient.oldest_stale.age", Unit: "s",
			Help: "For how long the value that is stale for the longest is; 0 when none is.", Points: value(func(s *stats) float64 { return age(s.OldestStale) }),
		},
		{
			Name: "clusterclient_registrations", Instrument: "clusterclient.registrations", Unit: "{registration}",
			Help: "Registrations of this process.", Points: value(func(s *stats) float64 { return float64(s.Registrations) }),
		},
		{
			Name: "clusterclient_resyncs_total", Instrument: "clusterclient.resyncs", Unit: "{resync}", Kind: Counter,
			Help: "Times that this process did not hold what its leader says that it does, and has asked for everything again.", Points: value(func(s *stats) float64 { return float64(s.Resyncs) }),
		},
		{
			Name: "clusterclient_calls_total", Instrument: "clusterclient.calls", Unit: "{call}", Kind: Counter, Labels: []string{"code"},
			Help: "Calls of this process that have ended, by gRPC code.", Points: func(s *stats) []Point { return byLabel(s.Calls) },
		},
		{
			Name: "clusterclient_calls_running", Instrument: "clusterclient.calls.running", Unit: "{call}",
			Help: "Calls of this process under way.", Points: value(func(s *stats) float64 { return float64(s.Running) }),
		},
		{
			Name: "clusterclient_rejected_processes_total", Instrument: "clusterclient.rejected_processes", Unit: "{process}", Kind: Counter, Labels: []string{"reason"},
			Help: "Processes that this client, leading or owning the port, has turned away.", Points: rejected,
		},
	}
}

func roles(s *clusterclient.Stats) []Point {
	var all []Point
	for _, r := range []clusterclient.Role{clusterclient.RoleLeader, clusterclient.RoleFollower, clusterclient.RoleNone} {
		all = append(all, Point{Labels: []string{r.String()}, Value: oneIf(s.Role == r)})
	}
	return all
}

func rejected(s *clusterclient.Stats) []Point {
	var all []Point
	for _, r := range s.Rejected {
		all = append(all, Point{Labels: []string{r.Code}, Value: float64(r.Count)})
	}
	return all
}

// byLabel makes a point of each count.
func byLabel(counts map[string]uint64) []Point {
	var all []Point
	for _, label := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, Point{Labels: []string{label}, Value: float64(counts[label])})
	}
	return all
}
